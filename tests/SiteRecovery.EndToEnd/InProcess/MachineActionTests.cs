using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A machine's actions through the HTTP admin endpoint, with a writer on its disk.</summary>
[Collection(OnTwoSites.Name)]
public sealed class MachineActionTests(TwoSites sites)
{
    [Fact]
    public async Task Pause_tracks_and_resume_sends_only_what_changed()
    {
        await ProtectedAsync("pause1", 8 << 20);
        await sites.ActAsync("pause1", "pause");
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("pause1"))["replication"]!["agentMode"]! == "Paused");
        var before = await sites.MachineAsync("pause1");
        await WriteAsync("pause1", 3 << 20, 7);
        await sites.UntilAsync(async () => (long)(await sites.MachineAsync("pause1"))["lag"]!["bytes"]! > 0);
        Assert.Equal((string)before["newestPoint"]!["id"]!, (string)(await sites.MachineAsync("pause1"))["newestPoint"]!["id"]!);

        await sites.ActAsync("pause1", "resume");
        await sites.UntilAsync(async () => await sites.MachineAsync("pause1") is var m && (string)m["state"]! == "Protected" && (long)m["lag"]!["bytes"]! == 0
            && (string)m["newestPoint"]!["id"]! != (string)before["newestPoint"]!["id"]!);
        var sent = (long)(await sites.MachineAsync("pause1"))["replication"]!["bytesSent"]! - (long)before["replication"]!["bytesSent"]!;
        Assert.InRange(sent, 1, 1 << 20);
    }

    [Fact]
    public async Task Resynchronize_compares_every_block_and_mends_what_was_changed_behind_the_agents_back()
    {
        await ProtectedAsync("resync1", 4 << 20);
        await using (var disk = new FileStream(sites.At("resync1.raw"), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
        {
            disk.Position = 1 << 20;
            disk.WriteByte(0x5A);
            disk.Flush(flushToDisk: true);
        }
        var job = await sites.ActAsync("resync1", "resynchronize");
        Assert.Equal("succeeded", (string)job["status"]!);
        Assert.Equal("Protected", (string)(await sites.MachineAsync("resync1"))["state"]!);
        await sites.ActAsync("resync1", "unplanned-failover", new { point = "latest", acknowledge = new[] { "sourceReachable", "sourceUnreachable" } });
        Assert.Equal(0x5A, (await ReadReplicaAsync("resync1", 1 << 20))[0]);
    }

    [Fact]
    public async Task A_point_is_protected_given_up_and_verified_on_request()
    {
        await ProtectedAsync("kept1", 1 << 20);
        await WriteAsync("kept1", 0, 3);
        await sites.UntilAsync(async () => await NotedAsync("kept1", "e1-s1") is not null);
        var newest = (await NotedAsync("kept1", "e1-s1"))!;
        Assert.False((bool)newest["protected"]!);
        Assert.Equal("unverified", (string)newest["verification"]!);

        const string path = "/api/v1/machines/kept1/recovery-points/";
        Assert.Equal(HttpStatusCode.OK, (await sites.Http.PostAsync(path + "e1-s1/protect", null)).StatusCode);
        Assert.True((bool)(await NotedAsync("kept1", "e1-s1"))!["protected"]!);
        (await sites.Http.PostAsJsonAsync(path + "latest/protect", new { keep = false })).EnsureSuccessStatusCode();
        Assert.False((bool)(await NotedAsync("kept1", "e1-s1"))!["protected"]!);

        Assert.Equal(HttpStatusCode.Accepted, (await sites.Http.PostAsync(path + "e1-s1/verify", null)).StatusCode);
        await sites.UntilAsync(async () => (string)(await NotedAsync("kept1", "e1-s1"))!["verification"]! == "verified");
        foreach (var verb in (string[])["protect", "verify"])
            await TwoSites.ProblemAsync(await sites.Http.PostAsync($"{path}e1-s9999/{verb}", null), 404, "unknownPoint");
    }

    private async Task<JsonNode?> NotedAsync(string machine, string point) =>
        (await sites.GetAsync($"/api/v1/machines/{machine}/recovery-points?limit=500"))["items"]!.AsArray().FirstOrDefault(p => (string)p!["id"]! == point);

    [Fact]
    public async Task A_job_goes_on_over_a_restart_of_the_configuration_server_and_a_repeated_key_finds_it()
    {
        await ProtectedAsync("jobs1", 1 << 20);
        await WriteAsync("jobs1", 0, 9);
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("jobs1"))["newestPoint"]!["id"]! == "e1-s1");
        var first = await PostAsync("jobs1", "unplanned-failover", new { point = "latest", acknowledge = new[] { "sourceReachable", "sourceUnreachable" } }, "key-1");
        await sites.RestartSecondaryAsync(forgetsOthers: true);
        var again = await PostAsync("jobs1", "unplanned-failover", new { point = "latest" }, "key-1");
        Assert.Equal((string)first["id"]!, (string)again["id"]!);
        Assert.StartsWith("succeeded", (string)(await sites.JobAsync(first))["status"]!, StringComparison.Ordinal);
        Assert.Equal("FailoverCommitPending", (string)(await sites.MachineAsync("jobs1"))["state"]!);
        // The master target has started anew as well: it serves the replica again a moment after the address is known.
        byte[]? read = null;
        await sites.UntilAsync(async () => (read = await TryReadReplicaAsync("jobs1", 0)) is not null);
        Assert.Equal(9, read![0]);

        // The source is alive: it learns that its epoch is over, and takes no more writes.
        // The configuration server has begun a cluster of its own: the source's side comes over (ClusterWatch).
        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync("jobs1"))["sourceFenced"] == true);
        var refused = await Assert.ThrowsAnyAsync<Exception>(() => WriteAsync("jobs1", 0, 10));
        Assert.True(refused is NbdException { Errno: 1 } or InvalidOperationException, refused.ToString());
        await sites.ActAsync("jobs1", "commit");
    }

    [Fact]
    public async Task A_disk_is_opened_from_another_host_over_TLS_and_by_nobody_without_a_certificate_that_is_allowed()
    {
        await ProtectedAsync("tls1", 1 << 20);
        var pki = sites.At("tls");
        Directory.CreateDirectory(pki);
        var uri = $"nbds://127.0.0.1:{sites.AgentNbd.Port}/tls1.vda?tls-hostname=host1&tls-certificates=";
        ShowCertificateOf("agent");
        Assert.Contains("1048576", await HostProgram.RunAsync("nbdinfo", ["--size", uri + pki]), StringComparison.Ordinal);
        ShowCertificateOf("primary");
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => HostProgram.RunAsync("nbdinfo", ["--size", uri + pki]));
        Assert.Contains("policy", refused.Message, StringComparison.Ordinal); // libnbd keeps the server's own words to itself

        File.Delete(Path.Combine(pki, "client-cert.pem"));
        File.Delete(Path.Combine(pki, "client-key.pem"));
        await Assert.ThrowsAsync<InvalidOperationException>(() => HostProgram.RunAsync("nbdinfo", ["--size", uri + pki]));
        await Assert.ThrowsAsync<InvalidOperationException>(() => HostProgram.RunAsync("nbdinfo", ["--size", $"nbd://127.0.0.1:{sites.AgentNbd.Port}/tls1.vda"]));

        void ShowCertificateOf(string folder)
        {
            foreach (var (kept, wanted) in new[] { ("ca.crt", "ca-cert.pem"), ("node.crt", "client-cert.pem"), ("node.key", "client-key.pem") })
                File.Copy(Directory.GetFiles(sites.At(folder), kept, SearchOption.AllDirectories).Single(), Path.Combine(pki, wanted), overwrite: true);
        }
    }

    [Fact]
    public async Task An_agent_whose_TLS_port_is_taken_serves_and_replicates_all_the_same()
    {
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        other.Listen();
        using (var answer = await sites.Http.PostAsJsonAsync("/api/v1/agents/join-tokens", new { site = "primary" }, sites.Stop))
            await File.WriteAllTextAsync(sites.At("host2.token"), (string)JsonNode.Parse(await answer.Content.ReadAsStringAsync(sites.Stop))!["token"]!, sites.Stop);
        using var stop = new CancellationTokenSource();
        await using var agent = await SiteRecovery.Agent.AgentService.StartAsync(new SiteRecovery.Agent.AgentOptions(
            sites.At("agent2"), sites.Http.BaseAddress!.ToString(), sites.At("host2.token"), "host2", (IPEndPoint)other.LocalEndPoint!), TimeProvider.System, sites.Stop);
        var running = agent.RunAsync(stop.Token);
        await sites.UntilAsync(async () => (bool)(await sites.GetAsync("/api/v1/agents/host2"))["connected"]!);
        Assert.Null(agent.NbdEndpoint);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_point_taken_by_hand_is_listed_with_its_label()
    {
        await ProtectedAsync("label1", 1 << 20);
        await WriteAsync("label1", 4096, 3);
        using var taken = await sites.Http.PostAsJsonAsync("/api/v1/machines/label1/recovery-points", new { label = "before the upgrade" }, sites.Stop);
        var id = (string)(await taken.Content.ReadFromJsonAsync<JsonNode>(sites.Stop))!["id"]!;
        await sites.UntilAsync(async () => (await sites.GetAsync("/api/v1/machines/label1/recovery-points"))["items"]!.AsArray()
            .Any(p => (string)p!["id"]! == id && (string?)p["label"] == "before the upgrade"));
    }

    [Fact]
    public async Task Disable_removes_the_store_lets_the_guest_keep_its_disk_and_the_machine_can_be_protected_anew()
    {
        await ProtectedAsync("off1", 1 << 20);
        var uri = await CaptureUriAsync("off1");
        await using var guest = await NbdAddress.Parse(uri).OpenAsync(sites.Stop);
        using (var asked = await sites.Http.DeleteAsync("/api/v1/machines/off1?acknowledge=pointsRemoved", sites.Stop))
            await sites.JobAsync((await asked.Content.ReadFromJsonAsync<JsonNode>(sites.Stop))!);
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("off1"))["state"]! == "Unprotected" && (await sites.MachineAsync("off1"))["targetSite"] is null);
        Assert.False(Directory.Exists(sites.At("secondary/master-target/stores/off1")));
        await sites.UntilAsync(async () => await CanWriteAsync(uri));
        using (var accepted = await sites.ProtectAsync("off1", sites.At("off1.raw"))) Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync("off1", "Protected");
        await Assert.ThrowsAsync<SiteRecovery.Agent.AgentProblem>(() => // the running agent holds its folder
            SiteRecovery.Agent.AgentService.StartAsync(new SiteRecovery.Agent.AgentOptions(sites.At("agent"), null, null, "host1"), TimeProvider.System, sites.Stop));
    }

    [Fact]
    public async Task A_test_failover_leaves_replication_alone_and_its_cleanup_leaves_no_trace()
    {
        await ProtectedAsync("drill1", 1 << 20);
        await WriteAsync("drill1", 0, 5);
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("drill1"))["newestPoint"]!["id"]! == "e1-s1");
        var store = sites.At("secondary/master-target/stores/drill1");
        var before = Directory.GetFileSystemEntries(store, "*", SearchOption.AllDirectories).Where(p => !p.Contains("/log/", StringComparison.Ordinal)).ToArray();

        Assert.Equal("succeeded", (string)(await sites.ActAsync("drill1", "test-failover", new { point = "latest" }))["status"]!);
        var export = (await sites.GetAsync("/api/v1/machines/drill1/exports"))["items"]!.AsArray().Single()!;
        Assert.NotNull((string?)export["test"]);
        await using (var test = await NbdAddress.Parse((string)export["uri"]!).OpenAsync(sites.Stop))
        {
            var block = new byte[4096];
            await test.ReadAsync(0, block, sites.Stop);
            Assert.Equal(5, block[0]);
            await test.WriteAsync(0, Enumerable.Repeat((byte)6, 4096).ToArray(), true, sites.Stop);
        }
        await WriteAsync("drill1", 4096, 7);
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("drill1"))["newestPoint"]!["id"]! == "e1-s2");
        await TwoSites.ProblemAsync(await sites.Http.DeleteAsync("/api/v1/machines/drill1?acknowledge=pointsRemoved", sites.Stop), 409, "notAllowedInState");

        Assert.Equal("succeeded", (string)(await sites.ActAsync("drill1", "test-failover-cleanup", new { notes = "it booted" }))["status"]!);
        var machine = await sites.MachineAsync("drill1");
        Assert.Equal(("Protected", "it booted"), ((string)machine["state"]!, (string)machine["drills"]![0]!["notes"]!));
        Assert.Empty(machine["tests"]!.AsArray());
        Directory.Delete(Path.Combine(store, "replica")); // empty, or this throws
        Assert.Equal(before, Directory.GetFileSystemEntries(store, "*", SearchOption.AllDirectories).Where(p => !p.Contains("/log/", StringComparison.Ordinal)).ToArray());
    }

    [Fact]
    public async Task The_recovery_point_is_changed_before_the_commit()
    {
        await ProtectedAsync("repoint1", 1 << 20);
        await WriteAsync("repoint1", 0, 1);
        await WriteAsync("repoint1", 0, 2);
        await sites.UntilAsync(async () => (string)(await sites.MachineAsync("repoint1"))["newestPoint"]!["id"]! == "e1-s2");
        var acknowledge = new[] { "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost" };
        await sites.ActAsync("repoint1", "unplanned-failover", new { point = "latest", acknowledge });
        Assert.Equal(2, (await ReadReplicaAsync("repoint1", 0))[0]);
        await sites.ActAsync("repoint1", "change-recovery-point", new { point = "e1-s1", acknowledge });
        Assert.Equal(1, (await ReadReplicaAsync("repoint1", 0))[0]);
        await sites.ActAsync("repoint1", "change-recovery-point", new { point = "e1-s2", acknowledge });
        Assert.Equal(2, (await ReadReplicaAsync("repoint1", 0))[0]);
        await sites.ActAsync("repoint1", "commit");
    }

    private static async Task<bool> CanWriteAsync(string uri)
    {
        try
        {
            await using var guest = await NbdAddress.Parse(uri).OpenAsync(CancellationToken.None);
            await guest.WriteAsync(0, new byte[4096], true, CancellationToken.None);
            return true;
        }
        catch (Exception notYet) when (notYet is IOException or NbdException)
        {
            return false;
        }
    }

    private async Task ProtectedAsync(string machine, int bytes)
    {
        using var accepted = await sites.ProtectAsync(machine, sites.NewDisk(machine + ".raw", bytes));
        Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync(machine, "Protected");
        await sites.UntilAsync(async () => (await sites.MachineAsync(machine))["newestPoint"] is not null);
    }

    private async Task<string> CaptureUriAsync(string machine)
    {
        string? uri = null;
        await sites.UntilAsync(async () => (uri = (string?)(await sites.MachineAsync(machine))["disks"]![0]!["captureUri"]) is not null);
        return uri!;
    }

    private async Task WriteAsync(string machine, long offset, byte value)
    {
        await using var disk = await NbdAddress.Parse(await CaptureUriAsync(machine)).OpenAsync(sites.Stop);
        if (disk.ReadOnly) throw new InvalidOperationException("the disk is read-only");
        await disk.WriteAsync(offset, Enumerable.Repeat(value, 4096).ToArray(), true, sites.Stop);
    }

    private async Task<byte[]?> TryReadReplicaAsync(string machine, long offset)
    {
        try
        {
            return await ReadReplicaAsync(machine, offset);
        }
        catch (Exception notYet) when (notYet is NbdException or IOException or System.Net.Sockets.SocketException)
        {
            return null;
        }
    }

    private async Task<byte[]> ReadReplicaAsync(string machine, long offset)
    {
        var exports = await sites.GetAsync($"/api/v1/machines/{machine}/exports");
        await using var disk = await NbdAddress.Parse((string)exports["items"]![0]!["uri"]!).OpenAsync(sites.Stop);
        var block = new byte[4096];
        await disk.ReadAsync(offset, block, sites.Stop);
        return block;
    }

    private async Task<JsonNode> PostAsync(string machine, string action, object body, string key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/api/v1/machines/{machine}/{action}") { Content = JsonContent.Create(body) };
        request.Headers.Add("Idempotency-Key", key);
        using var answer = await sites.Http.SendAsync(request, sites.Stop);
        var text = await answer.Content.ReadAsStringAsync(sites.Stop);
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }
}
