using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>One machine is led through its states; in each of them every action is tried against the running system.</summary>
[Collection(OnTwoSites.Name)]
public sealed class EveryActionTests(TwoSites sites)
{
    private const string Machine = "edges1";
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost", "pointsRemoved"];
    private static readonly string[] Actions = [.. MachineActions.All.Except([MachineActions.Enable, MachineActions.Disable])];

    [Fact]
    public async Task In_every_state_an_action_is_possible_or_refused_with_reason_and_alternatives()
    {
        using (var accepted = await sites.ProtectAsync(Machine, sites.NewDisk("edges1.raw"))) Assert.True(accepted.IsSuccessStatusCode);
        await sites.UntilAsync(async () => (await sites.MachineAsync(Machine))["newestPoint"] is not null && (string)(await sites.MachineAsync(Machine))["state"]! == "Protected");
        await TryAllAsync("Protected", "pause", "resynchronize", "test-failover", "planned-failover", "unplanned-failover");

        await sites.ActAsync(Machine, "pause");
        await TryAllAsync("Paused", "resume", "test-failover", "unplanned-failover");
        await sites.ActAsync(Machine, "resume");
        await sites.UntilStateAsync(Machine, "Protected");

        await sites.ActAsync(Machine, "test-failover", new { point = "latest" });
        await TryAllAsync("Protected", "pause", "resynchronize", "test-failover", "test-failover-cleanup", "planned-failover", "unplanned-failover");
        await sites.ActAsync(Machine, "test-failover-cleanup");

        await using (await NbdAddress.Parse((string)(await sites.MachineAsync(Machine))["disks"]![0]!["captureUri"]!).OpenAsync(sites.Stop))
        {
            using (var planned = await sites.Http.PostAsJsonAsync($"/api/v1/machines/{Machine}/planned-failover", new { acknowledge = Acknowledge }, sites.Stop)) Assert.True(planned.IsSuccessStatusCode);
            await TryAllAsync("PlannedFailoverInProgress", "test-failover", "cancel-failover");
            await sites.ActAsync(Machine, "cancel-failover");
        }
        await sites.UntilStateAsync(Machine, "Protected");

        await sites.ActAsync(Machine, "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        await TryAllAsync("FailoverCommitPending", "test-failover", "change-recovery-point", "commit", "cancel-failover");
        await sites.ActAsync(Machine, "commit");
        await TryAllAsync("FailedOver", "test-failover", "reverse-replicate");
        await sites.ActAsync(Machine, "reverse-replicate");
        await TryAllAsync("Protected", "pause", "resynchronize", "test-failover", "planned-failover", "unplanned-failover");
        await TwoSites.ProblemAsync(await sites.Http.DeleteAsync($"/api/v1/machines/{Machine}?acknowledge=pointsRemoved", sites.Stop), 409, "notAllowedInState");
    }

    private async Task TryAllAsync(string state, params string[] possible)
    {
        var machine = await sites.MachineAsync(Machine);
        Assert.Equal(state, (string)machine["state"]!);
        Assert.Equal(possible.Order(), machine["allowedActions"]!.AsArray().Where(a => (bool)a!["allowed"]!).Select(a => (string)a!["action"]!).Intersect(Actions).Order());
        foreach (var action in Actions)
        {
            using var answer = await sites.Http.PostAsJsonAsync($"/api/v1/machines/{Machine}/{action}?dryRun=true", new { acknowledge = Acknowledge }, sites.Stop);
            var text = await answer.Content.ReadAsStringAsync(sites.Stop);
            if (possible.Contains(action))
            {
                Assert.True((int)answer.StatusCode == 200, $"{action} in {state}: {text}");
                continue;
            }
            Assert.True((int)answer.StatusCode == 409, $"{action} in {state}: {text}");
            var problem = JsonNode.Parse(text)!;
            Assert.Equal(state, (string)problem["state"]!);
            Assert.NotEmpty((string)problem["detail"]!);
            Assert.NotEmpty((string)problem["remedy"]!);
            Assert.Equal(possible.Order(), problem["allowedActions"]!.AsArray().Select(a => (string)a!).Intersect(Actions).Order());
        }
    }
}
