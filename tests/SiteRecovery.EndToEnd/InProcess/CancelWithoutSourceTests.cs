using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Agent;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A failover that is cancelled ends the replica: where the source is not there, the machine would run nowhere, and whoever cancels has to know.</summary>
[Collection(OnTwoSites.Name)]
public sealed class CancelWithoutSourceTests(TwoSites sites)
{
    private const string Machine = "gone1", Host = "host-gone";
    private static readonly string[] Acknowledge = ["sourceReachable", "sourceUnreachable", "olderPoint"];

    [Fact]
    public async Task A_cancel_warns_of_a_source_that_is_not_connected_and_only_then()
    {
        using (var answer = await sites.Http.PostAsJsonAsync("/api/v1/agents/join-tokens", new { site = "primary" }, sites.Stop))
            await File.WriteAllTextAsync(sites.At(Host + ".token"), (string)JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!["token"]!, sites.Stop);
        await using (var _ = await RunningAgent.StartAsync(sites))
        {
            await sites.UntilAsync(async () => (await sites.GetAsync("/api/v1/agents"))["items"]!.AsArray().Any(a => (string?)a!["name"] == Host && (bool)a["connected"]!));
            using (var accepted = await sites.ProtectAsync(Machine, sites.NewDisk("gone1.raw"), agent: Host)) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
            await sites.UntilStateAsync(Machine, "Protected");
            await sites.UntilAsync(async () => (await sites.MachineAsync(Machine))["newestPoint"] is not null);
            await sites.ActAsync(Machine, "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
            await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync(Machine))["sourceFenced"] == true);
            await sites.UntilAsync(async () => await WarningsAsync() is ["replicaWritesLost"]);
        }

        await sites.UntilAsync(async () => !(bool)(await sites.MachineAsync(Machine))["replication"]!["agentConnected"]!);
        Assert.Equal(["replicaWritesLost", "sourceUnreachable"], await WarningsAsync());
        var refused = await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync($"/api/v1/machines/{Machine}/cancel-failover", new { acknowledge = new[] { "replicaWritesLost" } }, sites.Stop), 422, "acknowledgeNeeded");
        Assert.Contains("runs nowhere", (string)refused["detail"]!, StringComparison.Ordinal);
        Assert.Equal("FailoverCommitPending", (string)(await sites.MachineAsync(Machine))["state"]!);

        await using var again = await RunningAgent.StartAsync(sites);
        await sites.UntilAsync(async () => await WarningsAsync() is ["replicaWritesLost"]);
        await sites.ActAsync(Machine, "cancel-failover", new { acknowledge = new[] { "replicaWritesLost", "sourceUnreachable" } });
        await sites.UntilStateAsync(Machine, "Protected");
    }

    private async Task<string[]> WarningsAsync()
    {
        using var answer = await sites.Http.PostAsJsonAsync($"/api/v1/machines/{Machine}/cancel-failover?dryRun=true", new { }, sites.Stop);
        return [.. JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!["warnings"]!.AsArray().Select(w => (string)w!["code"]!)];
    }

    private sealed class RunningAgent(AgentService agent, Task running, CancellationTokenSource stop) : IAsyncDisposable
    {
        public static async Task<RunningAgent> StartAsync(TwoSites sites)
        {
            var stop = new CancellationTokenSource();
            var agent = await AgentService.StartAsync(new AgentOptions(
                sites.At(Host), sites.Http.BaseAddress!.ToString(), sites.At(Host + ".token"), Host, new IPEndPoint(IPAddress.Loopback, 0)), TimeProvider.System, sites.Stop);
            return new RunningAgent(agent, agent.RunAsync(stop.Token), stop);
        }

        public async ValueTask DisposeAsync()
        {
            await stop.CancelAsync();
            await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await agent.DisposeAsync();
            stop.Dispose();
        }
    }
}
