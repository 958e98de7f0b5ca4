using System.Net.Http.Json;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What is wrong is refused with a remedy, and changes nothing.</summary>
[Collection(OnTwoSites.Name)]
public sealed class BadInputTests(TwoSites sites)
{
    [Fact]
    public async Task A_machine_that_cannot_be_protected_is_refused_and_leaves_no_trace()
    {
        var disk = sites.NewDisk("bad-input.raw");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("bad1", sites.At("nowhere.raw")), 422, "agentRefused");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("bad1", "relative.raw"), 400, "invalid");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("bad1", disk, policy: "platinum"), 404, "notFound");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("bad1", disk, vault: "none"), 404, "notFound");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("bad1", disk, agent: "none"), 404, "notFound");
        await TwoSites.ProblemAsync(await sites.ProtectAsync("Bad Name", disk), 400, "invalid");
        await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines", new { name = "bad1", vualt = "main" }, sites.Stop), 400, "invalid");
        var nothing = await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines", new { name = "bad1", vault = "main", source = new { agent = "host1", disks = new[] { new { id = "vda", path = disk } } }, excludeDisks = new[] { "vdz" } }, sites.Stop), 400, "invalid");
        Assert.Contains("'vdz'", (string)nothing["detail"]!, StringComparison.Ordinal);
        await TwoSites.ProblemAsync(await sites.Http.GetAsync("/api/v1/machines/bad1", sites.Stop), 404, "notFound");
        Assert.DoesNotContain((await sites.GetAsync("/api/v1/machines"))["items"]!.AsArray(), m => (string)m!["name"]! == "bad1");
    }

    [Fact]
    public async Task A_disk_that_another_program_holds_or_that_is_protected_already_is_refused()
    {
        var disk = sites.NewDisk("held.raw");
        using (DataPlane.Storage.DiskLock.TryTake(disk))
        {
            var problem = await TwoSites.ProblemAsync(await sites.ProtectAsync("held1", disk), 422, "agentRefused");
            Assert.Contains("in use", (string)problem["detail"]!, StringComparison.Ordinal);
        }
        using (var accepted = await sites.ProtectAsync("held1", disk)) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        var taken = await TwoSites.ProblemAsync(await sites.ProtectAsync("held2", disk), 422, "agentRefused");
        Assert.Contains("held1", (string)taken["detail"]!, StringComparison.Ordinal);
        await TwoSites.ProblemAsync(await sites.ProtectAsync("held1", disk), 409, "notAllowedInState");
    }

    [Theory]
    [InlineData("jobs/none.k1/cancel", "cancel-failover")]
    [InlineData("jobs/none.k1/resume", "")]
    [InlineData("jobs/none.k1/retry", "")]
    [InlineData("nodes/none/drain", "SIGTERM")]
    public async Task What_the_contract_names_and_no_node_has_yet_says_so_and_what_to_do_instead(string path, string remedy)
    {
        var problem = await TwoSites.ProblemAsync(await sites.Http.PostAsync($"/api/v1/{path}", null, sites.Stop), 501, "notYetSupported");
        Assert.Contains(remedy, (string)problem["remedy"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Points_and_actions_that_the_machine_does_not_have_are_refused_with_what_it_has()
    {
        using (var accepted = await sites.ProtectAsync("points1", sites.NewDisk("points1.raw"))) accepted.EnsureSuccessStatusCode();
        await sites.UntilStateAsync("points1", "Protected");
        await sites.UntilAsync(async () => (await sites.MachineAsync("points1"))["newestPoint"] is not null);
        await TwoSites.ProblemAsync(await FailOverAsync(new { point = "e7-s1" }), 404, "unknownPoint");
        await TwoSites.ProblemAsync(await FailOverAsync(new { point = "yesterday" }), 400, "invalid");
        await TwoSites.ProblemAsync(await FailOverAsync(new { point = "at:2001-01-01T00:00:00Z" }), 404, "unknownPoint");
        await TwoSites.ProblemAsync(await FailOverAsync(new { point = "at:11/12/2026 19:20" }), 400, "invalid");
        var ahead = await TwoSites.ProblemAsync(await FailOverAsync(new { point = "at:2127-01-01T01:00:00+01:00" }), 422, "timeAhead");
        Assert.Contains("read as 2127-01-01T00:00:00Z (UTC)", (string)ahead["detail"]!, StringComparison.Ordinal);
        Assert.Contains("The newest point is e1-s", (string)ahead["remedy"]!, StringComparison.Ordinal);
        var warned = await TwoSites.ProblemAsync(await FailOverAsync(new { point = "latest" }), 422, "acknowledgeNeeded");
        Assert.Equal("sourceReachable", (string)warned["warnings"]![0]!["code"]!);
        var refused = await TwoSites.ProblemAsync(await sites.Http.PostAsJsonAsync("/api/v1/machines/points1/commit", new { }, sites.Stop), 409, "notAllowedInState");
        Assert.Contains("pause", refused["allowedActions"]!.AsArray().Select(a => (string)a!));
        Assert.Equal("Protected", (string)(await sites.MachineAsync("points1"))["state"]!);
    }

    [Theory]
    [InlineData("POST", "machines", """{"name":"bad2","vault":"main","source":{"agent":"host1","disks":[null]}}""", "disks holds null")]
    [InlineData("POST", "machines", """{"name":"bad2","vault":"main","source":{"agent":"host1","disks":[{"id":"vda","path":"/d"}]},"excludeDisks":[null]}""", "excludeDisks holds null")]
    [InlineData("POST", "machines", """{"name":"bad2","vault":"main","source":{"agent":"host1","disks":[{"id":"vda","path":"/d"}]},"definition":{"name":"bad2","machineType":"pc","cpuCount":1,"memoryBytes":1,"disks":[null]}}""", "disks holds null")]
    [InlineData("POST", "machines", """{"name":"bad2","vault":"main","source":{"agent":"host1","disks":[{"id":"vda","path":"/d"}]},"definition":{"name":"bad2"}}""", "definition lacks 'machineType', 'cpuCount', 'memoryBytes'.")]
    [InlineData("POST", "machines", """{"name":"bad2","vualt":"main"}""", "There is no property 'vualt'.")]
    [InlineData("POST", "machines", "[]", "The body is not of the form that belongs there.")]
    [InlineData("POST", "machines", "null", "The request has no body.")]
    [InlineData("POST", "machines", "", "The request has no body.")]
    [InlineData("POST", "machines", "{", "Expected depth")]
    [InlineData("PUT", "policies/bad2", """{"retention":{"tiers":[null]}}""", "tiers holds null")]
    [InlineData("PUT", "policies/bad2", """{"retention":{"window":7}}""", "retention.window is not of the form")]
    [InlineData("PUT", "policies/bad2", """{"retention":{"window":"7 days"}}""", "retention.window: '7 days' is not a duration")]
    [InlineData("PUT", "policies/bad2", """{"resynchronization":{"window":1}}""", "resynchronization.window is not of the form")]
    [InlineData("PUT", "policies/bad%2Fworse", "{}", "'bad/worse' is no name.")]
    [InlineData("PUT", "network-mappings/bad2", """{"vault":"main","networks":[null]}""", "networks holds null")]
    [InlineData("PUT", "network-mappings/bad2", """{"vault":"main","subnets":[{"source":"10.0.0.0/24","failover":{"subnet":"10.1.0.0/24","dns":[null]}}]}""", "dns holds null")]
    [InlineData("POST", "tokens", """{"name":"bad2","role":4}""", "role is not of the form")]
    [InlineData("POST", "tokens", """{"name":"bad2","role":"4"}""", "role is not of the form")]
    [InlineData("POST", "machines/none/unplanned-failover", """{"acknowledge":[null]}""", "acknowledge holds null")]
    [InlineData("POST", "machines/none/recovery-points", """{"kind":1}""", "kind is not of the form")]
    [InlineData("GET", "machines?state=Foo", null, "state is 'Foo'.")]
    [InlineData("GET", "machines?stat=Protected", null, "The list cannot be asked with 'stat'.")]
    [InlineData("GET", "jobs?status=done", null, "status is 'done'.")]
    [InlineData("GET", "jobs?state=running", null, "The list cannot be asked with 'state'.")]
    [InlineData("GET", "policies?name=gold", null, "The list cannot be asked with 'name'.")]
    [InlineData("GET", "machines/none/recovery-points?from=yesterday", null, "from is 'yesterday', which is not of the form")]
    public async Task What_cannot_be_read_is_refused_in_words_of_its_users(string method, string path, string? body, string said)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), $"/api/v1/{path}") { Content = body is null ? null : new StringContent(body, System.Text.Encoding.UTF8, "application/json") };
        var problem = await TwoSites.ProblemAsync(await sites.Http.SendAsync(request, sites.Stop), 400, "invalid");
        Assert.Contains(said, (string)problem["detail"]!, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"SiteRecovery\.\w|System\.|\.NET|Path: \$|Service instead", problem.ToJsonString());
    }

    [Fact]
    public async Task A_body_that_is_too_large_is_refused_with_the_limit_and_its_setting()
    {
        // It asks before it sends, as curl does with so much: whoever is refused in the middle of a body may find the connection closed before the answer.
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/v1/machines") { Content = new StringContent($$"""{"name":"{{new string('x', 2 << 20)}}"}""", System.Text.Encoding.UTF8, "application/json") };
        request.Headers.ExpectContinue = true;
        var problem = await TwoSites.ProblemAsync(await sites.Http.SendAsync(request, sites.Stop), 413, "bodyTooLarge");
        Assert.Contains("1048576 bytes", (string)problem["detail"]!, StringComparison.Ordinal);
        Assert.Contains("siterecovery.http.body-bytes-max", (string)problem["remedy"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Machines_are_listed_by_their_state()
    {
        using (var accepted = await sites.ProtectAsync("state1", sites.NewDisk("state1.raw"))) accepted.EnsureSuccessStatusCode();
        await sites.UntilStateAsync("state1", "Protected");
        Assert.Contains("state1", await NamesAsync("protected"));
        Assert.DoesNotContain("state1", await NamesAsync("Paused"));
        Assert.Contains("Protected", (string)(await TwoSites.ProblemAsync(await sites.Http.GetAsync("/api/v1/machines?state=Foo", sites.Stop), 400, "invalid"))["remedy"]!, StringComparison.Ordinal);

        async Task<string[]> NamesAsync(string state) => [.. (await sites.GetAsync($"/api/v1/machines?state={state}"))["items"]!.AsArray().Select(m => (string)m!["name"]!)];
    }

    private Task<HttpResponseMessage> FailOverAsync(object body) => sites.Http.PostAsJsonAsync("/api/v1/machines/points1/unplanned-failover", body, sites.Stop);
}
