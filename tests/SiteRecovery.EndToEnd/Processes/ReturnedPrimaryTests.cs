using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// The old primary comes back while the replica runs, from before it could hear of the failover, and with less network than it had: its disks take no
/// write beside the replica's. With no network at all it cannot know; then the agent's option says for how long it asks.
/// </summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class ReturnedPrimaryTests(ITestOutputHelper output) : IDisposable
{
    private const int WritesPerSecond = 400;
    private const string Settings = "siterecovery.cluster { stable-after = 4s, heartbeat-pause = 3s }";
    private static readonly string[] Folders = ["agent-data", SitesUnderTest.Primary];
    private static readonly TimeSpan Watched = TimeSpan.FromSeconds(3);
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(4) * Rounds.Wanted(1));

    [Fact]
    public async Task An_old_primary_that_returns_takes_no_write_beside_the_replica_whatever_it_can_hear()
    {
        await using var sites = new SitesUnderTest(Settings, _limit.Token,
            new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, process-server, master-target"),
            new(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server, master-target")) { DiskBytes = 48L << 20, AgentArguments = ["--ask-after-boot", "forever"] };
        await sites.StartAsync(WritesPerSecond);
        var source = (await sites.LookAsync())!.CaptureUri!;
        sites.Kill(SitesUnderTest.Writer, SitesUnderTest.Agent, SitesUnderTest.Primary);
        foreach (var folder in Folders) Copy(sites.At(folder), sites.At(folder + "-before"));
        var replica = await FailOverAsync(sites);
        await using (var probe = new CopyProbe(source, replica, sites.DiskBytes, _limit.Token))
        {
            for (var round = 0; round < Rounds.Wanted(1); round++) await ComeBackAsync(sites, source, probe, fenceIsKnown: round > 0);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{probe.Looks} looks at both copies"));
            Assert.True(await CopyProbe.TakesWritesAsync(replica, sites.DiskBytes, _limit.Token));
            Assert.False(probe.BothWrote, "both copies took writes");
        }
        // What cannot be known: nobody answers, and the patience that the operator gave it ends.
        sites.AgentArguments = ["--ask-after-boot", "5s"];
        Boot(sites, sites.CutLink);
        await ServedAsync(sites, source);
        Assert.False(await CopyProbe.TakesWritesAsync(source, sites.DiskBytes, _limit.Token));
        await sites.UntilAsync("the end of its patience", () => CopyProbe.TakesWritesAsync(source, sites.DiskBytes, _limit.Token));
        sites.HealLink();
        await FencedAsync(sites, "at the first word it hears");
    }

    /// <summary>First with too little network to hear anything, then with half of it, then with all.</summary>
    private async Task ComeBackAsync(SitesUnderTest sites, string source, CopyProbe probe, bool fenceIsKnown)
    {
        Boot(sites, sites.CutLink);
        await ServedAsync(sites, source);
        await HoldsAsync(sites, source, "no network");
        sites.CutLink(toSecondary: true, toPrimary: false);
        await HoldsAsync(sites, source, "heard by nobody");
        sites.CutLink(toSecondary: false, toPrimary: true);
        await HoldsAsync(sites, source, "hears nobody");

        Boot(sites, () => Only(sites, "data"));
        await FencedAsync(sites, "the data channel alone");
        Boot(sites, () => Only(sites, "cluster"));
        // A fence that was confirmed is ordered no more: only the data channel tells it to a copy of before.
        if (fenceIsKnown)
        {
            await ServedAsync(sites, source);
            await HoldsAsync(sites, source, "the cluster alone, which has seen the fence");
        }
        else await FencedAsync(sites, "the cluster alone");
        MachineSeen? seen = null;
        await sites.UntilAsync("the fence to be known", async () => (seen = await sites.LookAsync())?.SourceFenced == true, () => $"{seen}");
        // From a copy of before the fence that the cluster has seen: nobody orders it any more.
        Boot(sites, sites.HealLink);
        await FencedAsync(sites, "all of the network");
        Assert.False(probe.BothWrote, "both copies took writes");
    }

    private static void Only(SitesUnderTest sites, string kind)
    {
        sites.CutLink();
        sites.CutLink(toSecondary: false, toPrimary: false, only: kind);
    }

    private async Task HoldsAsync(SitesUnderTest sites, string source, string network)
    {
        var until = TimeProvider.System.GetUtcNow() + Watched;
        while (TimeProvider.System.GetUtcNow() < until) Assert.False(await CopyProbe.TakesWritesAsync(source, sites.DiskBytes, _limit.Token), $"the old source took a write, {network}");
        output.WriteLine($"{network}: no write taken");
    }

    private async Task FencedAsync(SitesUnderTest sites, string by)
    {
        var begun = TimeProvider.System.GetTimestamp();
        await sites.UntilAsync($"the fence, {by}", () => Task.FromResult((bool?)State(sites)["Fenced"] == true));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{by}: fenced {TimeProvider.System.GetElapsedTime(begun).TotalSeconds:F1} s after its start"));
    }

    private async Task ServedAsync(SitesUnderTest sites, string source) => await sites.UntilAsync("the old source to be served", async () =>
    {
        try
        {
            await using var disk = await NbdAddress.Parse(source).OpenAsync(_limit.Token);
            return true;
        }
        catch (Exception down) when (down is IOException or System.Net.Sockets.SocketException)
        {
            return false;
        }
    });

    /// <summary>The whole site, as it was when it died, on hosts that have booted since.</summary>
    private static void Boot(SitesUnderTest sites, Action network)
    {
        sites.Kill(SitesUnderTest.Agent, SitesUnderTest.Primary);
        // Else its own process server would remember what it has once heard.
        foreach (var folder in Folders)
        {
            Directory.Delete(sites.At(folder), recursive: true);
            Copy(sites.At(folder + "-before"), sites.At(folder));
        }
        HostBoot.Pretend(Path.GetDirectoryName(StatePath(sites))!);
        network();
        sites.Start(SitesUnderTest.Primary);
        sites.Start(SitesUnderTest.Agent);
    }

    private static string StatePath(SitesUnderTest sites) => Path.Combine(sites.At("agent-data"), "machines", SitesUnderTest.Machine, "capture.json");

    private static JsonObject State(SitesUnderTest sites) => JsonNode.Parse(File.ReadAllText(StatePath(sites)))!.AsObject();

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var folder in Directory.GetDirectories(from)) Copy(folder, Path.Combine(to, Path.GetFileName(folder)));
        foreach (var file in Directory.GetFiles(from).Where(f => !f.EndsWith(".sock", StringComparison.Ordinal))) File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
    }

    private async Task<string> FailOverAsync(SitesUnderTest sites)
    {
        var action = $"/api/v1/machines/{SitesUnderTest.Machine}/unplanned-failover";
        var dryRun = await sites.Admin.PostAsync(action + "?dryRun=true", new { point = "latest" }, _limit.Token);
        await sites.Admin.PostAsync(action, new
        {
            point = (string)dryRun["point"]!["id"]!, acknowledge = new[] { "machineStops", "sourceReachable", "sourceUnreachable", "olderPoint" },
        }, _limit.Token);
        MachineSeen? seen = null;
        await sites.UntilAsync("the failover", async () => (seen = await sites.LookAsync()) is { State: "FailoverCommitPending" }, () => $"{seen}");
        var exports = await sites.Admin.GetAsync($"/api/v1/machines/{SitesUnderTest.Machine}/exports", _limit.Token);
        return (string)exports["items"]![0]!["uri"]!;
    }

    public void Dispose() => _limit.Dispose();
}
