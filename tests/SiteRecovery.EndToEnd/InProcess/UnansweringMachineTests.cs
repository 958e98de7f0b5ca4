using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Microsoft.Data.Sqlite;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Two sites with a machine whose journal is no longer readable, so that its actor never answers, and a good one.</summary>
public sealed class OneDumbMachine : IAsyncLifetime
{
    private readonly TwoSites _sites = new();

    internal TwoSites Sites => _sites;

    public async Task InitializeAsync()
    {
        await _sites.InitializeAsync();
        foreach (var machine in new[] { "dumb1", "good1" })
            using (var accepted = await _sites.ProtectAsync(machine, _sites.NewDisk($"{machine}.raw"))) accepted.EnsureSuccessStatusCode();
        foreach (var machine in new[] { "dumb1", "good1" }) await _sites.UntilStateAsync(machine, "Protected");
        _sites.AskTimeout = "4s"; // each look at the one waits for as long
        await _sites.RestartSecondaryAsync(meanwhile: () =>
        {
            SqliteConnection.ClearAllPools();
            using var journal = new SqliteConnection($"Data Source={_sites.At("secondary/journal.db")};Pooling=False");
            journal.Open();
            using var damage = journal.CreateCommand();
            damage.CommandText = "UPDATE journal SET message = x'00' WHERE persistence_id = 'machine-dumb1'";
            Assert.NotEqual(0, damage.ExecuteNonQuery());
        });
        await _sites.UntilAsync(async () =>
        {
            using var good = await _sites.Http.GetAsync("/api/v1/machines/good1", _sites.Stop);
            return good.IsSuccessStatusCode && JsonNode.Parse(await good.Content.ReadAsStringAsync(_sites.Stop))!["rpo"] is not null;
        });
    }

    public Task DisposeAsync() => _sites.DisposeAsync();
}

public sealed class UnansweringMachineTests(OneDumbMachine machines) : IClassFixture<OneDumbMachine>
{
    private readonly TwoSites _sites = machines.Sites;

    [Fact]
    public async Task A_machine_that_does_not_answer_is_unknown_and_hides_no_other()
    {
        var machines = (await _sites.GetAsync("/api/v1/machines"))["items"]!.AsArray();
        var (dumb, good) = (machines.Single(m => (string)m!["name"]! == "dumb1")!, machines.Single(m => (string)m!["name"]! == "good1")!);
        Assert.Equal(("Unknown", "critical", "notAnswering"), ((string)dumb["state"]!, (string)dumb["health"]!["status"]!, (string)dumb["health"]!["reasons"]![0]!["code"]!));
        Assert.Equal((true, true, false), (dumb["rpo"] is null, dumb["unknownSince"] is not null, (bool)dumb["canFailOver"]!));
        Assert.All(dumb["allowedActions"]!.AsArray(), a => Assert.False((bool)a!["allowed"]!));
        Assert.Equal(("Protected", true), ((string)good["state"]!, (bool)good["canFailOver"]!));

        var first = await _sites.GetAsync("/api/v1/machines?limit=1");
        var second = await _sites.GetAsync($"/api/v1/machines?limit=1&cursor={first["nextCursor"]}");
        Assert.Equal(["dumb1", "good1"], new[] { first, second }.Select(p => (string)Assert.Single(p["items"]!.AsArray())!["name"]!).Order());
        Assert.Null(second["nextCursor"]);
        Assert.Equal((string)dumb["unknownSince"]!, (string)new[] { first, second }.Select(p => p["items"]![0]!).Single(m => (string)m["name"]! == "dumb1")["unknownSince"]!);

        var jobs = await _sites.GetAsync("/api/v1/jobs");
        Assert.Equal(["good1"], jobs["items"]!.AsArray().Select(j => (string)j!["machine"]!).Distinct());
        Assert.Equal("dumb1", (string)Assert.Single(jobs["notAnswering"]!.AsArray())!);

        var overview = await _sites.GetAsync("/api/v1/overview");
        Assert.Equal((false, 2, 1, 1), ((bool)overview["canFailOver"]!, (int)overview["machines"]!, (int)overview["machinesThatCanFailOver"]!, (int)overview["critical"]!));
        Assert.Null(overview["worstRpo"]);
        Assert.Equal(["dumb1"], overview["cannotFailOver"]!.AsArray().Select(m => (string)m!));

        await _sites.UntilAsync(async () => await _sites.Http.GetStringAsync("/metrics", _sites.Stop) is var text && Shows(text, "good1", 1) && Shows(text, "dumb1", 0));
        await SrctlShowsItAsync();
    }

    [Fact]
    public async Task What_ends_without_an_answer_or_is_refused_by_role_is_in_the_audit_log()
    {
        await TwoSites.ProblemAsync(await _sites.Http.PostAsJsonAsync("/api/v1/machines/dumb1/pause", new { }, _sites.Stop), 503, "noAnswer");
        Assert.Contains("admin POST /api/v1/machines/dumb1/pause unknown", await AuditAsync());

        await GiveUpAsync("/api/v1/machines/dumb1/resume");
        await _sites.UntilAsync(async () => (await AuditAsync()).Contains("admin POST /api/v1/machines/dumb1/resume unknown"));

        using var made = await _sites.Http.PostAsJsonAsync("/api/v1/tokens", new { name = "eve", role = "viewer" }, _sites.Stop);
        using var viewer = Client((string)JsonNode.Parse(await made.Content.ReadAsStringAsync(_sites.Stop))!["token"]!);
        await TwoSites.ProblemAsync(await viewer.PostAsJsonAsync("/api/v1/machines/good1/pause", new { }, _sites.Stop), 403, "forbidden");
        Assert.Contains("eve POST /api/v1/machines/good1/pause 403", await AuditAsync());
    }

    private static bool Shows(string metrics, string machine, int healthy) =>
        System.Text.RegularExpressions.Regex.IsMatch(metrics, $"siterecovery_machine_healthy\\{{[^}}]*machine=\"{machine}\"[^}}]*\\}} {healthy}");

    private async Task SrctlShowsItAsync()
    {
        var srctl = new Srctl(Directory.CreateDirectory(_sites.At("srctl")).FullName, _sites.Stop);
        string[] where = ["--server", _sites.Http.BaseAddress!.ToString(), "--token-file", _sites.At("secondary/admin.token"), "--ca-file", _sites.At("secondary/pki/ca.crt")];
        var status = (await srctl.DoneAsync(["status", .. where])).Out;
        Assert.Matches(@"\ndumb1 +Unknown +critical +unknown since 20", status);
        Assert.Matches(@"\ngood1 +Protected ", status);
        Assert.Contains("dumb1: critical: ", status, StringComparison.Ordinal);
        Assert.Contains("do not answer: dumb1", (await srctl.DoneAsync(["job", "list", .. where])).People, StringComparison.Ordinal);
    }

    private async Task<string[]> AuditAsync() =>
        [.. (await _sites.GetAsync("/api/v1/audit?limit=500"))["items"]!.AsArray().Select(e => $"{e!["by"]} {e["action"]} {e["outcome"]}")];

    /// <summary>The caller goes away when the node has asked for the body and been given it: its route runs.</summary>
    private async Task GiveUpAsync(string path)
    {
        using var gone = CancellationTokenSource.CreateLinkedTokenSource(_sites.Stop);
        using var client = Client(_sites.Http.DefaultRequestHeaders.Authorization!.Parameter!);
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new LastWords(gone) };
        request.Headers.ExpectContinue = true;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.SendAsync(request, gone.Token));
        Assert.False(_sites.Stop.IsCancellationRequested);
    }

    private HttpClient Client(string token)
    {
        var handler = PeerTrust.HttpHandler(PeerIdentity.Load(_sites.At("secondary/pki")).AuthorityCertificate);
        handler.Expect100ContinueTimeout = TimeSpan.FromMinutes(2);
        var client = new HttpClient(handler) { BaseAddress = _sites.Http.BaseAddress };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return client;
    }

    private sealed class LastWords : HttpContent
    {
        private readonly CancellationTokenSource _gone;

        public LastWords(CancellationTokenSource gone)
        {
            _gone = gone;
            Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync("{}"u8.ToArray());
            await stream.FlushAsync();
            await _gone.CancelAsync();
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 2;
            return true;
        }
    }
}
