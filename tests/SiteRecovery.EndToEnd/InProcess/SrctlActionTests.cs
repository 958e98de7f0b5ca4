using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>An action from its confirmation to its job's end.</summary>
public sealed class SrctlActionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-srctl-action").FullName;
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(3));
    private readonly Srctl _srctl;

    public SrctlActionTests() => _srctl = new Srctl(_folder, _stop.Token);

    [Theory]
    [InlineData("succeeded", 0)]
    [InlineData("succeededWithWarnings", 3)]
    [InlineData("failed", 1)]
    [InlineData("cancelled", 1)]
    public async Task An_action_is_followed_step_by_step_and_its_outcome_is_the_exit_code(string outcome, int exitCode)
    {
        await using var api = await ScriptedApi.StartAsync((_, number) => (number == 1 ? 202 : 200, number switch
        {
            1 => Job("running", ("open-epoch", "running"), ("serve-replica", "running")),
            2 or 3 => Job("running", ("open-epoch", "succeeded"), ("serve-replica", "running")),
            _ => Job(outcome, ("open-epoch", "succeeded"), ("serve-replica", outcome)),
        }), _stop.Token);
        var run = await _srctl.RunAsync("machine", "unplanned-failover", "db1", "--server", api.Url, "--point", "e1-s4",
            "--yes", "--acknowledge", "sourceAlive", "rpoUnknown", "--idempotency-key", "k1", "-o", "json");
        Assert.Equal((exitCode, outcome), (run.ExitCode, (string)run.Json["status"]!));
        var lines = run.People.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(5, lines.Length); // the job, the two steps, one change of the second, the end
        Assert.EndsWith(" " + outcome, lines[^1], StringComparison.Ordinal);
        var sent = api.Requests.First();
        Assert.Equal(("POST", "/api/v1/machines/db1/unplanned-failover", "k1"), (sent.Method, sent.Path, sent.IdempotencyKey));
        Assert.Equal("""{"point":"e1-s4","acknowledge":["sourceAlive","rpoUnknown"]}""", sent.Body!.ToJsonString());
        Assert.All(api.Requests.Skip(1), r => Assert.Equal("GET /api/v1/jobs/db1.k1?wait=1s", $"{r.Method} {r.Path}"));
    }

    /// <summary>An agent that is somebody else's by now could write to the operator's clipboard, or hide the line that tells of it.</summary>
    [Fact]
    public async Task What_others_say_does_not_steer_the_terminal()
    {
        const string steering = "\u001b]52;c;eA==\u0007\u001b[1A\u009b2K\u007fdone";
        await using var api = await ScriptedApi.StartAsync((r, _) => r.Path.StartsWith("/api/v1/audit", StringComparison.Ordinal)
            ? (200, new JsonObject { ["items"] = new JsonArray { new JsonObject { ["by"] = "viewer", ["action"] = $"POST /{steering}", ["outcome"] = "403" } } })
            : r.Method == "POST" ? (202, Job("failed", ("serve-replica", "failed"), (steering, "failed")))
            : (404, new JsonObject { ["code"] = "notFound", ["detail"] = steering, ["remedy"] = steering }), _stop.Token);
        var table = await _srctl.DoneAsync("audit", "list", "--server", api.Url);
        var followed = await _srctl.RunAsync("machine", "unplanned-failover", "db1", "--server", api.Url, "--yes");
        var refused = await _srctl.RefusedAsync(10, "machine", "show", "db1", "--server", api.Url);
        foreach (var shown in (string[])[table.Out, followed.People, refused.People])
        {
            Assert.Contains("?]52;c;eA==?", shown, StringComparison.Ordinal);
            Assert.DoesNotContain(shown, c => char.IsControl(c) && c != '\n');
        }
        // For programs it is what it was.
        Assert.Equal($"POST /{steering}", (string)(await _srctl.DoneAsync("audit", "list", "--server", api.Url, "-o", "json")).Json["items"]![0]!["action"]!);
    }

    [Fact]
    public async Task A_job_says_how_soon_the_machine_was_back_and_where_to_look_for_what_comes_later()
    {
        var times = new JsonObject { ["epochOpened"] = "70ms", ["disksServed"] = "113ms", ["firstRead"] = "1287ms" };
        await using var api = await ScriptedApi.StartAsync((r, _) =>
        {
            var job = Job("succeeded", ("serve-replica", "succeeded"));
            job["times"] = times.DeepClone();
            return (r.Method == "GET" ? 200 : 202, job);
        }, _stop.Token);
        var run = await _srctl.DoneAsync("machine", "unplanned-failover", "db1", "--server", api.Url, "--yes");
        Assert.Contains("until epoch opened: 70ms, disks served: 113ms, first sector read: 1.3s; what comes later: srctl job show db1.k1", run.People, StringComparison.Ordinal);
        (times["machineStarted"], times["guestUp"], times["guestUpBy"]) = ("800ms", "13s", "firstWrite");
        var shown = await _srctl.DoneAsync("job", "show", "db1.k1", "--server", api.Url);
        Assert.EndsWith("""
            from the command on, until
            epoch opened:      70ms
            disks served:      113ms
            machine started:   800ms
            first sector read: 1.3s
            guest up:          13s (by its first write)

            """, shown.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_takes_too_long_goes_on_without_srctl()
    {
        await using var api = await ScriptedApi.StartAsync((r, _) => (r.Method == "GET" ? 200 : 202, Job("running", ("replicate", "running"))), _stop.Token);
        var late = await _srctl.RunAsync("machine", "resume", "db1", "--server", api.Url, "--timeout", "300ms");
        Assert.Equal((4, ""), (late.ExitCode, late.Out));
        Assert.Contains("srctl job watch db1.k1", late.People, StringComparison.Ordinal);
        var unwaited = await _srctl.DoneAsync("machine", "resume", "db1", "--server", api.Url, "--no-wait", "-o", "json");
        Assert.Equal("running", (string)unwaited.Json["status"]!);
    }

    [Fact]
    public async Task A_job_is_followed_through_another_node_when_the_first_one_dies()
    {
        await using var second = await ScriptedApi.StartAsync((_, _) => (200, Job("succeeded", ("pause", "succeeded"))), _stop.Token);
        await using var first = await ScriptedApi.StartAsync((r, _) => (r.Method == "GET" ? 200 : 202, Job("running", ("pause", "running"))), _stop.Token);
        var running = _srctl.RunAsync("machine", "pause", "db1", "--server", first.Url, "--server", second.Url);
        while (first.Requests.Count < 3) await Task.Delay(20, _stop.Token);
        Assert.Empty(second.Requests);
        await first.DisposeAsync();
        var run = await running;
        Assert.True(run.ExitCode == 0, run.People);
        Assert.NotEmpty(second.Requests);
    }

    [Fact]
    public async Task A_job_is_asked_for_again_when_the_only_node_does_not_reach_the_cluster_for_a_while()
    {
        await using var api = await ScriptedApi.StartAsync((r, number) => number is 2 or 3 ? (503, Problem("noAnswer"))
            : (202, Job(number == 1 ? "running" : "succeeded", ("pause", "running"))), _stop.Token);
        var run = await _srctl.RunAsync("machine", "pause", "db1", "--server", api.Url);
        Assert.True(run.ExitCode == 0, run.People);
        Assert.Equal(2, run.People.Split("asking on").Length); // said once
    }

    [Fact]
    public async Task Nothing_risky_is_sent_before_it_is_confirmed()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (200, new JsonObject { ["machine"] = "db1", ["steps"] = new JsonArray("open-epoch"), ["warnings"] = new JsonArray(new JsonObject { ["code"] = "sourceAlive", ["warning"] = "It answers." }) }), _stop.Token);
        foreach (var verb in new[] { "unplanned-failover", "commit", "disable" })
        {
            await _srctl.RefusedAsync(2, "machine", verb, "db1", "--server", api.Url);
            Assert.Equal(2, (await _srctl.RunWithInputAsync("db1\n", "machine", verb, "db1", "--server", api.Url)).ExitCode); // a pipe is nobody who reads warnings
        }
        Assert.Empty(api.Requests);
        var tried = await _srctl.DoneAsync("machine", "unplanned-failover", "db1", "--server", api.Url, "--dry-run");
        Assert.Contains("warning: sourceAlive: It answers.", tried.Out, StringComparison.Ordinal);
        Assert.Equal("/api/v1/machines/db1/unplanned-failover?dryRun=true", Assert.Single(api.Requests).Path);
        await _srctl.DoneAsync("machine", "disable", "db1", "--server", api.Url, "--yes", "--acknowledge", "a", "b");
        Assert.Equal("DELETE /api/v1/machines/db1?acknowledge=a&acknowledge=b", $"{api.Requests.Last().Method} {api.Requests.Last().Path}");
    }

    [Fact]
    public async Task A_time_without_a_zone_is_said_to_be_UTC_and_one_that_may_mean_several_is_not_sent()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (202, Job("succeeded")), _stop.Token);
        string[] command = ["machine", "test-failover", "db1", "--server", api.Url, "--no-wait", "--point"];
        Assert.Contains("is read as UTC: 2026-01-31T03:00:00.000Z", (await _srctl.DoneAsync([.. command, "at:2026-01-31 03:00"])).People, StringComparison.Ordinal);
        Assert.Equal("at:2026-01-31 03:00", (string)Assert.Single(api.Requests).Body!["point"]!);
        Assert.DoesNotContain("UTC", (await _srctl.DoneAsync([.. command, "at:2026-01-31T03:00:00+01:00"])).People, StringComparison.Ordinal);
        foreach (var unclear in new[] { "at:11/12/2026 19:20", "at:19:20" })
            Assert.Contains("at:2026-01-31T03:00:00Z", (await _srctl.RefusedAsync(2, [.. command, unclear])).People, StringComparison.Ordinal);
        Assert.Equal(2, api.Requests.Count());
    }

    [Theory]
    [InlineData("recovery-point", "protect", "db1", "e1-s4")]
    [InlineData("recovery-point", "verify", "db1", "e1-s4")]
    [InlineData("node", "drain", "n1")]
    [InlineData("job", "cancel", "db1.k1")]
    public async Task A_dry_run_is_offered_only_where_the_node_has_one(params string[] command)
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (200, new JsonObject()), _stop.Token);
        Assert.Equal(2, (await _srctl.RunAsync([.. command, "--server", api.Url, "--dry-run"])).ExitCode);
        Assert.Empty(api.Requests);
    }

    [Theory]
    [InlineData(409)]
    [InlineData(501)]
    public async Task A_refusal_says_what_why_what_to_do_and_what_is_allowed(int status)
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (status, Problem("notAllowedInState")), _stop.Token);
        var run = await _srctl.RefusedAsync(11, "machine", "test-failover", "db1", "--server", api.Url);
        Assert.Equal("""
            srctl: POST /api/v1/machines/db1/test-failover: notAllowedInState (state Paused)
              why:     Replication is paused.
              do:      Resume first.
              allowed: resume, disable

            """, run.People);
    }

    [Theory]
    [InlineData("List what exists with GET /api/v1/policies.", "List what exists with 'srctl policy list'.")]
    [InlineData("List its points with GET /api/v1/machines/db1/recovery-points.", "List its points with 'srctl recovery-point list db1'.")]
    [InlineData("List what it has with GET /api/v1/agents/a1/machines.", "List what it has with 'srctl agent machines a1'.")]
    [InlineData("Look at GET /api/v1/nodes, and start it.", "Look at 'srctl node list', and start it.")]
    [InlineData("If that is meant, repeat it with acknowledge: machineStops, olderPoint.", "If that is meant, repeat it with --acknowledge machineStops olderPoint.")]
    [InlineData("""Name the agent's site: {"site": "..."}.""", "Name the agent's site: --site SITE.")]
    [InlineData("Repeat GET /api/v1/overview/later.", "Repeat GET /api/v1/overview/later.")]
    public async Task What_a_node_says_is_to_be_done_is_said_as_srctl_does_it(string remedy, string said)
    {
        await using var api = await ScriptedApi.StartAsync((_, _) =>
        {
            var problem = Problem("refused");
            problem["remedy"] = remedy;
            return (422, problem);
        }, _stop.Token);
        Assert.Contains($"  do:      {said}\n", (await _srctl.RefusedAsync(2, "machine", "pause", "db1", "--server", api.Url)).People, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_status_names_the_machines_that_cannot_fail_over_and_rounds_the_rpo()
    {
        await using var api = await ScriptedApi.StartAsync((r, _) => (200, r.Path.EndsWith("/overview", StringComparison.Ordinal)
            ? JsonNode.Parse("""{"canFailOver":false,"machines":2,"worstRpo":"20564ms","cannotFailOver":["db2"]}""")
            : JsonNode.Parse(r.Path.Contains("/machines", StringComparison.Ordinal) ? """{"items":[{"name":"db1","state":"Protected","canFailOver":true},{"name":"db2","state":"Protected","canFailOver":false}]}""" : """{"items":[]}""")), _stop.Token);
        Assert.StartsWith("canFailOver=no machines=2 worstRpo=21s\ncannot fail over: db2\n", (await _srctl.DoneAsync("status", "--server", api.Url)).Out, StringComparison.Ordinal);
        Assert.Contains("worstRpo: \"21s\"", (await _srctl.DoneAsync("overview", "--server", api.Url)).Out, StringComparison.Ordinal);
        Assert.Equal("20564ms", (string)(await _srctl.DoneAsync("overview", "--server", api.Url, "-o", "json")).Json["worstRpo"]!);
    }

    [Fact]
    public async Task Lists_follow_their_cursors_and_filters_reach_the_node()
    {
        await using var api = await ScriptedApi.StartAsync((r, number) => (200, new JsonObject
        {
            ["items"] = new JsonArray(new JsonObject { ["id"] = $"e1-s{number}", ["at"] = "2026-01-31T03:00:00.1234567Z" }),
            ["nextCursor"] = number < 3 ? $"{number}" : null,
        }), _stop.Token);
        var run = await _srctl.DoneAsync("recovery-point", "list", "db1", "--server", api.Url, "--from", "2026-01-31T03:00:00+01:00", "--kind", "crashConsistent");
        Assert.Equal(["e1-s1", "e1-s2", "e1-s3"], run.Out.Split('\n')[1..^1].Select(l => l.Split(' ')[0]));
        Assert.Contains("2026-01-31T03:00:00.1234567Z", run.Out, StringComparison.Ordinal);
        const string path = "/api/v1/machines/db1/recovery-points?kind=crashConsistent&from=2026-01-31T03%3A00%3A00%2B01%3A00";
        Assert.Equal([path, path + "&cursor=1", path + "&cursor=2"], api.Requests.Select(r => r.Path));
    }

    [Fact]
    public async Task A_machine_shows_its_console_its_tests_and_its_drills_and_a_tests_disks_apart()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (200, JsonNode.Parse("""
            {"name":"db1","state":"FailoverCommitPending","console":"serial unix:/run/db1","exports":[{"disk":0,"uri":"nbd://replica","test":null},{"disk":0,"uri":"nbd://tested","test":"t1"}],
             "tests":[{"id":"t1","pointId":"e1-s42","startedAt":"2026-01-31T03:00:00Z","served":true,"console":"vnc 127.0.0.1:5901"}],
             "drills":[{"test":"t0","pointId":"e1-s7","startedAt":"2026-01-30T03:00:00Z","servedAt":"2026-01-30T03:00:02Z","cleanedUpAt":"2026-01-30T04:00:00Z","notes":"it booted","rto":"2100ms"}]}
            """)), _stop.Token);
        var lines = (await _srctl.DoneAsync("machine", "show", "db1", "--server", api.Url)).Out.Split('\n');
        Assert.Matches("^console: +serial unix:/run/db1$", lines.Single(l => l.StartsWith("console", StringComparison.Ordinal)));
        Assert.Equal("0              nbd://replica", After("EXPORTED DISK"));
        Assert.Matches("^0 +nbd://tested +t1$", After("TEST'S DISK"));
        Assert.Matches(@"^t1 +e1-s42 +2026-01-31T03:00:00.000Z +yes +vnc 127.0.0.1:5901$", After("TEST  "));
        Assert.Matches(@"^t0 +e1-s7 +2026-01-30T03:00:00.000Z +2.1s +2026-01-30T04:00:00.000Z +it booted$", After("DRILL"));

        string After(string title) => lines[Array.FindIndex(lines, l => l.StartsWith(title, StringComparison.Ordinal)) + 1];
    }

    [Fact]
    public async Task A_list_of_points_shows_which_are_protected_and_where_the_writes_jump()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (200, new JsonObject
        {
            ["items"] = new JsonArray(
                new JsonObject { ["id"] = "e1-s2", ["protected"] = true, ["signals"] = new JsonObject { ["jump"] = true } },
                new JsonObject { ["id"] = "e1-s1", ["protected"] = false, ["signals"] = new JsonObject { ["jump"] = false } }),
        }), _stop.Token);
        var lines = (await _srctl.DoneAsync("recovery-point", "list", "db1", "--server", api.Url)).Out.Split('\n');
        Assert.Contains(" protected ", lines[1], StringComparison.Ordinal);
        Assert.Contains(" JUMP", lines[1], StringComparison.Ordinal);
        Assert.DoesNotContain("protected", lines[2], StringComparison.Ordinal);
        Assert.DoesNotContain("JUMP", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_point_is_verified_without_a_job_and_its_state_is_shown_with_where_to_look()
    {
        await using var api = await ScriptedApi.StartAsync((r, _) => r.Method == "POST" ? (202, new JsonObject { ["id"] = "e1-s2", ["verification"] = "running" }) : (404, Problem("notFound")),
            _stop.Token, location: "/api/v1/machines/db1/recovery-points");
        var run = await _srctl.DoneAsync("recovery-point", "verify", "db1", "e1-s2", "--server", api.Url, "-o", "json");
        Assert.Equal("running", (string)run.Json["verification"]!);
        Assert.Contains("srctl recovery-point list db1", run.People, StringComparison.Ordinal);
        Assert.Single(api.Requests);
    }

    [Fact]
    public async Task The_id_of_a_job_is_taken_from_where_it_lies()
    {
        await using var api = await ScriptedApi.StartAsync((r, _) => (r.Method == "POST" ? 202 : 200, r.Method == "POST" ? null : Job("succeeded")), _stop.Token, location: "/api/v1/jobs/db1.k7");
        await _srctl.DoneAsync("machine", "pause", "db1", "--server", api.Url);
        Assert.StartsWith("/api/v1/jobs/db1.k7?", api.Requests.Last().Path, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Protect_sends_the_disks_in_their_order_and_an_unknown_rpo_is_never_zero()
    {
        await using var api = await ScriptedApi.StartAsync((r, _) => r.Method == "POST" ? (202, Job("succeeded")) : (200, r.Path.Contains("/jobs/", StringComparison.Ordinal) ? Job("succeeded") : new JsonObject
        {
            ["items"] = new JsonArray(new JsonObject { ["name"] = "db1", ["state"] = "Protected", ["rpo"] = null, ["unknownSince"] = "2026-01-31T03:00:00Z", ["lag"] = new JsonObject { ["bytes"] = 4096, ["time"] = "14677ms" } }),
        }), _stop.Token);
        await _srctl.DoneAsync("machine", "protect", "db1", "--server", api.Url, "--vault", "v", "--policy", "p", "--agent", "a", "--disk", "vdb=/x=y", "--disk", "vda=/z", "--capture", "nbd");
        Assert.Equal("""{"name":"db1","vault":"v","source":{"agent":"a","disks":[{"id":"vdb","path":"/x=y","capture":"nbd"},{"id":"vda","path":"/z","capture":"nbd"}]},"policy":"p"}""",
            api.Requests.First().Body!.ToJsonString());
        Assert.Contains("unknown since 2026-01-31T03:00:00.000Z  4.0 KiB / 15s", (await _srctl.DoneAsync("machine", "list", "--server", api.Url)).Out, StringComparison.Ordinal);
        await _srctl.RefusedAsync(2, "machine", "protect", "db1", "--server", api.Url, "--vault", "v", "--agent", "a", "--disk", "vda");
    }

    [Fact]
    public async Task Of_an_agent_that_is_not_heard_only_that_is_shown_and_since_when()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (200, new JsonObject
        {
            ["name"] = "db1", ["state"] = "Protected", ["lag"] = null,
            ["replication"] = new JsonObject { ["agentConnected"] = false, ["agentMode"] = "unknown", ["newestSequence"] = 7, ["durableSequence"] = 7, ["agentHeardAt"] = "2026-01-31T03:00:00Z" },
        }), _stop.Token);
        var shown = (await _srctl.DoneAsync("machine", "show", "db1", "--server", api.Url)).Out;
        Assert.Matches("lag: +unknown", shown);
        Assert.Matches("agent is: +not connected, heard last at 2026-01-31T03:00:00.000Z\\s", shown);
        Assert.DoesNotContain("at write", shown, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Protect_sends_the_definition_that_is_in_a_file_and_only_with_disks()
    {
        await using var api = await ScriptedApi.StartAsync((_, _) => (202, Job("succeeded")), _stop.Token);
        var file = Path.Combine(_folder, "db1.json");
        await File.WriteAllTextAsync(file, """{ "name": "db1", "machineType": "pc", "cpuCount": 1, "memoryBytes": 33554432, "disks": [ { "target": "vda", "bus": "virtio" } ] }""", _stop.Token);
        string[] protect = ["machine", "protect", "db1", "--server", api.Url, "--vault", "v", "--agent", "a"];
        await _srctl.DoneAsync([.. protect, "--disk", "vda=/z", "--definition", file]);
        Assert.Equal("""{"name":"db1","machineType":"pc","cpuCount":1,"memoryBytes":33554432,"disks":[{"target":"vda","bus":"virtio"}]}""", api.Requests.First().Body!["definition"]!.ToJsonString());
        Assert.Contains("the hypervisor says", (await _srctl.RefusedAsync(2, [.. protect, "--domain", "db1", "--definition", file])).People, StringComparison.Ordinal);
        await _srctl.RefusedAsync(2, [.. protect, "--disk", "vda=/z", "--definition", file + ".none"]);
        await File.WriteAllTextAsync(file, "[]", _stop.Token);
        await _srctl.RefusedAsync(2, [.. protect, "--disk", "vda=/z", "--definition", file]);
        Assert.Equal(2, api.Requests.Count); // the order and a look at its job: nothing else was sent
    }

    public void Dispose()
    {
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static JsonObject Job(string status, params (string Name, string Status)[] steps) => new()
    {
        ["id"] = "db1.k1", ["action"] = "unplanned-failover", ["status"] = status, ["startedAt"] = "2026-01-31T03:00:00Z",
        ["finishedAt"] = status == "running" ? null : "2026-01-31T03:00:02Z",
        ["steps"] = new JsonArray([.. steps.Select(s => new JsonObject { ["name"] = s.Name, ["status"] = s.Status, ["at"] = "2026-01-31T03:00:01Z" })]),
    };

    private static JsonObject Problem(string code) => new()
    {
        ["code"] = code, ["detail"] = "Replication is paused.", ["remedy"] = "Resume first.", ["state"] = "Paused", ["allowedActions"] = new JsonArray("resume", "disable"),
    };
}
