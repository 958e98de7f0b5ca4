using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Demo;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Of two nodes of one name the one that came later ends; one that takes the place of a dead one does not.</summary>
public sealed class NameWatchTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-names-");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(6));

    private string At(string name) => Path.Combine(_folder.FullName, name);

    [Fact]
    public async Task A_copied_data_directory_serves_no_second_node()
    {
        await using var first = await StartAsync("first", "configuration-server", null);
        using var http = await ClientAsync(first);
        var join = await JoinAsync(http, first);
        using var second = ChildProcess.Start("siterecovery", At("second.log"), "node", "--data", At("second"), "--site", "lab", "--roles", "process-server", "--config", Configured("second"), "--join", join.Url, "--token-file", join.TokenFile!);
        await UntilAsync(async () => (await NodesAsync(http)).Count(IsSecond) == 1);
        Copy("second", "copy");
        await using (var copy = await StartAsync("copy", "process-server", null, "second"))
        {
            var why = await copy.WaitAsync().WaitAsync(_stop.Token);
            Assert.StartsWith("the node 'second' is up already, at https://127.0.0.1:", why, StringComparison.Ordinal);
        }
        await UntilAsync(async () => (await NodesAsync(http)).Count == 2);
        Assert.False(second.HasExited);
        Assert.DoesNotContain("is up already", await File.ReadAllTextAsync(At("second.log"), _stop.Token), StringComparison.Ordinal);

        // The same folder elsewhere, while the cluster still lists the one that was killed.
        second.KillHard();
        await using var moved = await StartAsync("copy", "process-server", null, "second");
        var ended = moved.WaitAsync();
        await UntilAsync(async () => (await NodesAsync(http)) is { Count: 2 } nodes && nodes.Count(n => IsSecond(n) && (bool)n!["reachable"]!) == 1);
        Assert.False(ended.IsCompleted);
    }

    private static bool IsSecond(JsonNode? node) => (string?)node!["name"] == "second";

    private async Task<JsonArray> NodesAsync(HttpClient http) => JsonNode.Parse(await http.GetStringAsync("/api/v1/nodes", _stop.Token))!["items"]!.AsArray();

    private void Copy(string from, string to)
    {
        foreach (var file in Directory.GetFiles(At(from), "*", SearchOption.AllDirectories).Where(f => Path.GetFileName(f) is not "lock"))
        {
            var copied = Path.Combine(At(to), Path.GetRelativePath(At(from), file));
            Directory.CreateDirectory(Path.GetDirectoryName(copied)!);
            File.Copy(file, copied);
        }
    }

    private string Configured(string name)
    {
        File.WriteAllText(At(name + ".conf"), $$"""
            siterecovery {
              node.name = "{{name}}"
              ports { http = 0, cluster = 0, data = 0, agent = 0 }
              cluster { stable-after = 1s, heartbeat-pause = 2s }
            }
            """);
        return At(name + ".conf");
    }

    private async Task<JoinOrder> JoinAsync(HttpClient http, RunningNode first)
    {
        using var answer = await http.PostAsJsonAsync("/api/v1/nodes/join-tokens", new { site = "lab" }, _stop.Token);
        await File.WriteAllTextAsync(At("token"), (string)(await answer.Content.ReadFromJsonAsync<JsonNode>(_stop.Token))!["token"]!, _stop.Token);
        return new JoinOrder(first.Endpoints.HttpUrl, At("token"));
    }

    private async Task<HttpClient> ClientAsync(RunningNode node)
    {
        var http = new HttpClient(PeerTrust.HttpHandler(PeerIdentity.Load(At("first/pki")).AuthorityCertificate)) { BaseAddress = new Uri(node.Endpoints.HttpUrl) };
        await UntilAsync(async () =>
        {
            using var ready = await http.GetAsync("/healthz/ready", _stop.Token);
            return ready.IsSuccessStatusCode;
        });
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(At("first/admin.token"), _stop.Token)).Trim());
        return http;
    }

    private async Task<RunningNode> StartAsync(string folder, string roles, JoinOrder? join, string? name = null)
    {
        var config = SettingsLoader.Installed().Load(Configured(name ?? folder), new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = roles, ["siterecovery.log.level"] = "warning",
        });
        return await RunningNode.StartAsync(NodeSettings.Of(config, At(folder)), config, join, TimeProvider.System, _stop.Token);
    }

    private async Task UntilAsync(Func<Task<bool>> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!await holds()) await timer.WaitForNextTickAsync(_stop.Token);
    }

    public void Dispose()
    {
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}
