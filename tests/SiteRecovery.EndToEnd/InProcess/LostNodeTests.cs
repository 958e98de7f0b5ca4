using System.Net;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>The configuration server was down as well when the primary site was lost: what it hears from nobody it must know by itself.</summary>
public sealed class LostNodeTests : IAsyncLifetime
{
    private readonly TwoSites _sites = new();

    public Task InitializeAsync() => _sites.InitializeAsync();

    public Task DisposeAsync() => _sites.DisposeAsync();

    [Fact]
    public async Task A_site_that_was_lost_before_the_configuration_server_started_is_missed_until_its_nodes_are_forgotten()
    {
        var primary = (string)(await NodesAsync()).Single(n => (string)n!["site"]! == "primary")!["name"]!;
        // It is kept in mind soon after it has come, and nothing is said of that.
        await _sites.UntilAsync(async () => (await _sites.KnownNodesAsync()).Contains(primary));
        Assert.Equal(HttpStatusCode.Conflict, await ForgetAsync(primary)); // it is a member
        await _sites.LosePrimaryAsync();
        await _sites.RestartSecondaryAsync(forgetsOthers: true);

        JsonNode? lost = null;
        await _sites.UntilAsync(async () => (lost = (await NodesAsync()).FirstOrDefault(n => (string?)n!["name"] == primary)) is not null);
        Assert.Equal(("notSeen", false, "primary"), ((string)lost!["status"]!, (bool)lost["reachable"]!, (string)lost["site"]!));
        Assert.Equal(["master-target", "process-server"], lost["roles"]!.AsArray().Select(r => (string)r!));
        var site = await _sites.GetAsync("/api/v1/sites/primary");
        Assert.Equal((1, 0), ((int)site["nodes"]!, (int)site["reachableNodes"]!));
        var overview = await _sites.GetAsync("/api/v1/overview");
        Assert.Equal((2, 1), ((int)overview["nodes"]!, (int)overview["unreachableNodes"]!));

        Assert.Equal(HttpStatusCode.NoContent, await ForgetAsync(primary));
        Assert.Equal(HttpStatusCode.NotFound, await ForgetAsync(primary));
        Assert.Equal(["secondary"], (await NodesAsync()).Select(n => (string)n!["site"]!));
    }

    private async Task<JsonArray> NodesAsync() => (await _sites.GetAsync("/api/v1/nodes"))["items"]!.AsArray();

    private async Task<HttpStatusCode> ForgetAsync(string node)
    {
        using var answer = await _sites.Http.DeleteAsync($"/api/v1/nodes/{node}", _sites.Stop);
        return answer.StatusCode;
    }
}
