using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What is only to be tried out changes nothing, and what changes something is in the audit log.</summary>
[Collection(OnTwoSites.Name)]
public sealed class DryRunTests(TwoSites sites)
{
    /// <summary>All that the document has; a name that nothing has stands for each parameter.</summary>
    [Fact]
    public async Task Every_route_that_changes_something_has_a_dry_run_or_refuses_it()
    {
        var document = await sites.GetAsync("/openapi/v1.json");
        List<string> tried = [];
        foreach (var (template, methods) in document["paths"]!.AsObject())
            foreach (var (method, operation) in methods!.AsObject().Where(m => m.Key != "get"))
            {
                var path = System.Text.RegularExpressions.Regex.Replace(template, @"\{\w+\}", "none");
                foreach (var wrong in (string[])["1", "yes", "", "true&dryRun=false"])
                    await RefusedAsync(method, $"{path}?dryRun={wrong}", "invalid");
                var known = operation!["parameters"]?.AsArray().Any(p => (string)p!["name"]! == "dryRun") == true;
                tried.Add(known ? "known" : "unknown");
                if (known) continue;
                await RefusedAsync(method, $"{path}?dryRun=true", "noDryRun");
                await RefusedAsync(method, $"{path}?DRYRUN=True", "noDryRun");
            }
        Assert.Equal((13, 19), (tried.Count(t => t == "known"), tried.Count(t => t == "unknown")));
    }

    [Fact]
    public async Task A_dry_run_changes_nothing_however_it_is_written_and_is_not_in_the_audit_log()
    {
        await ProtectedAsync("dry1");
        var before = await AuditAsync("dry1");
        foreach (var yes in (string[])["true", "True", "TRUE"])
        {
            using var answer = await sites.Http.PostAsJsonAsync($"/api/v1/machines/dry1/pause?dryRun={yes}", new { }, sites.Stop);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        }
        Assert.Equal("Protected", (string)(await sites.MachineAsync("dry1"))["state"]!);
        Assert.Equal(before, await AuditAsync("dry1"));

        const string point = "/api/v1/machines/dry1/recovery-points/latest";
        foreach (var verb in (string[])["protect", "verify"]) await RefusedAsync("post", $"{point}/{verb}?dryRun=true", "noDryRun");
        Assert.All(await sites.PointsAsync("dry1"), p => Assert.False((bool)p!["protected"]!));
        await RefusedAsync("put", "/api/v1/policies/dry1?dryRun=true", "noDryRun", new { rpoThreshold = "15s" });
        await TwoSites.ProblemAsync(await sites.Http.GetAsync("/api/v1/policies/dry1", sites.Stop), 404, "notFound");
        Assert.Equal(before.Concat([
            "POST /api/v1/machines/dry1/recovery-points/latest/protect 400", "POST /api/v1/machines/dry1/recovery-points/latest/verify 400", "PUT /api/v1/policies/dry1 400",
        ]), await AuditAsync("dry1"));

        await sites.ActAsync("dry1", "pause?dryRun=false");
        Assert.Equal("POST /api/v1/machines/dry1/pause 202", (await AuditAsync("dry1"))[^1]);
    }

    private async Task ProtectedAsync(string machine)
    {
        using (var accepted = await sites.ProtectAsync(machine, sites.NewDisk($"{machine}.raw"))) accepted.EnsureSuccessStatusCode();
        await sites.UntilAsync(async () => await sites.MachineAsync(machine) is var m && (string)m["state"]! == "Protected" && m["newestPoint"] is not null);
    }

    /// <summary>Oldest first.</summary>
    private async Task<string[]> AuditAsync(string about) =>
        [.. (await sites.GetAsync("/api/v1/audit?limit=500"))["items"]!.AsArray().OrderBy(e => (DateTimeOffset)e!["at"]!)
            .Where(e => ((string)e!["action"]!).Contains($"/{about}", StringComparison.Ordinal)).Select(e => $"{e!["action"]} {e["outcome"]}")];

    private async Task RefusedAsync(string method, string path, string code, object? body = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), path) { Content = JsonContent.Create(body ?? new { }) };
        await TwoSites.ProblemAsync(await sites.Http.SendAsync(request, sites.Stop), 400, code);
    }
}
