using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// The whole life of a protected machine with a real guest: drilled, lost with its site, run at the other one, brought home by deltas, and moved
/// there and back again. After each step every record that the guest had acknowledged is looked for.
/// </summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class MovedGuestTests(ITestOutputHelper output) : IDisposable
{
    private const string Machine = "db1";
    private const long DiskBytes = 48L << 20;
    private const int PageBytes = 4096, Records = 60;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2) + TimeSpan.FromMinutes(3) * Rounds.Wanted(1));
    private TwoSites _sites = null!;
    /// <summary>The job that brought up the replica on which the next guest starts.</summary>
    private string _broughtUp = "";

    [Fact]
    public async Task A_guest_is_drilled_lost_brought_home_and_moved_there_and_back()
    {
        await using var sites = _sites = await TwoSites.StartAsync(_limit.Token);
        string[] paths = [sites.At("a.raw"), sites.At("b.raw")];
        foreach (var path in paths) await GuestDisk.CreateAsync(path, DiskBytes);
        var disks = await sites.ProtectAsync(Machine, paths);
        long held = 0;
        output.WriteLine("round  step                 records   ms  sent KiB  differed KiB");
        for (var round = 1; round <= Rounds.Wanted(1); round++)
        {
            var guest = await GuestMachine.StartAsync(disks);
            held = await RunsAsync(guest, held);
            if (round == 1) await sites.ProtectedAsync(Machine);
            await DrillAsync(held);
            (guest, disks, held) = await LoseTheSiteAsync(round, guest);
            await sites.ActAsync(Machine, "commit");
            await guest.AcknowledgedAsync(guest.Acknowledged + Records, _limit.Token);
            held = await StopAsync(guest);
            disks = await ReverseAsync(round, disks);
            for (var move = 0; move < 3; move++)
            {
                // Home, there, and home again.
                guest = await GuestMachine.StartAsync(disks);
                held = await RunsAsync(guest, held);
                held = Math.Max(held, await StopAsync(guest));
                disks = await MoveAsync(round, held);
                guest = await GuestMachine.StartAsync(disks);
                held = await RunsAsync(guest, held);
                await TimedAsync("planned failover");
                held = Math.Max(held, await StopAsync(guest));
                disks = await ReverseAsync(round, disks);
            }
        }
    }

    /// <summary>The guest finds every record that was acknowledged, each of them right, and writes more.</summary>
    private async Task<long> RunsAsync(GuestMachine guest, long held)
    {
        var found = await guest.ReadyAsync(_limit.Token);
        Assert.True(found.Min() >= held, $"{held} records were acknowledged, the disks hold {string.Join(", ", found)}");
        await guest.AcknowledgedAsync(found.Min() + Records, _limit.Token);
        return guest.Acknowledged;
    }

    /// <summary>As if its power were cut: what it has acknowledged was flushed.</summary>
    private static async Task<long> StopAsync(GuestMachine guest)
    {
        await guest.KillAsync();
        Assert.Null(guest.Problem);
        var acknowledged = guest.Acknowledged;
        await guest.DisposeAsync();
        return acknowledged;
    }

    private async Task DrillAsync(long held)
    {
        var point = (await _sites.Admin.PostAsync($"/api/v1/machines/{Machine}/recovery-points", new { label = "drill" }, _limit.Token))["id"]!.GetValue<string>();
        await _sites.UntilAsync("the point to be durable", async () =>
            (await _sites.Admin.GetAsync($"/api/v1/machines/{Machine}/recovery-points", _limit.Token))["items"]!.AsArray().Any(p => p!["id"]!.GetValue<string>() == point));
        var drill = (await _sites.ActAsync(Machine, "test-failover", new { point }))["id"]!.GetValue<string>();
        foreach (var uri in await _sites.ExportsAsync(Machine, test: true))
        {
            var records = await GuestDisk.CheckAsync(uri, _sites.At(""), "drill");
            Assert.True(records.Problem is null && records.Count >= held, $"{held} records were acknowledged before the drill, which says {records}");
        }
        // Read by a program, and written by nobody.
        var times = JobTimes.Of(await _sites.JobAsync(drill));
        for (; times.FirstRead is null; times = JobTimes.Of(await _sites.JobAsync(drill))) await Task.Delay(100, _limit.Token);
        Assert.Null(times.InOrder(epoch: false, machine: false).GuestUp);
        output.WriteLine($"         test failover: {times}");
        await _sites.ActAsync(Machine, "test-failover-cleanup");
    }

    private async Task<(GuestMachine Guest, string[] Disks, long Held)> LoseTheSiteAsync(int round, GuestMachine guest)
    {
        await guest.AcknowledgedAsync(guest.Acknowledged + Records, _limit.Token);
        _sites.Kill(TwoSites.Primary, TwoSites.Agent);
        await guest.KillAsync();
        var death = TimeProvider.System.GetUtcNow();
        var replica = await _sites.FailOverAsync(Machine);
        var records = new List<GuestRecords>();
        foreach (var uri in replica.Exports) records.Add(await GuestDisk.CheckAsync(uri, _sites.At(""), "lost"));
        var verdict = GuestVerdict.Judge(guest.Ledger, records, replica.PointAt, death);
        Assert.True(verdict.Reason is null, verdict.Row(round));
        await guest.DisposeAsync();
        var second = await GuestMachine.StartAsync(replica.Exports);
        Write(round, "unplanned failover", verdict.Kept, replica.Took.TotalMilliseconds);
        var held = await RunsAsync(second, verdict.Kept);
        _broughtUp = replica.Job;
        await TimedAsync("unplanned failover");
        return (second, replica.Exports, held);
    }

    /// <summary>From the command to a booted kernel, by the job: these guests are started by hand, on disks that are served.</summary>
    private async Task TimedAsync(string what) =>
        output.WriteLine($"         {what}: {(await JobTimes.UntilGuestUpAsync(() => _sites.JobAsync(_broughtUp), _limit.Token)).InOrder(epoch: true, machine: false)}");

    /// <summary>The old site returns; what is sent is measured against what really differs.</summary>
    private async Task<string[]> ReverseAsync(int round, string[] disks)
    {
        var direction = (await _sites.MachineAsync(Machine))["direction"]!.GetValue<string>();
        if (direction.StartsWith(TwoSites.Primary, StringComparison.Ordinal) && (await _sites.MachineAsync(Machine))["sourceFenced"]?.GetValue<bool>() == false)
        {
            _sites.Start(TwoSites.Primary);
            _sites.Start(TwoSites.Agent);
        }
        var now = await ReadAsync(disks);
        var begun = TimeProvider.System.GetTimestamp();
        var job = await _sites.ActAsync(Machine, "reverse-replicate");
        var took = TimeProvider.System.GetElapsedTime(begun);
        await _sites.ProtectedAsync(Machine);
        var sent = (await _sites.MachineAsync(Machine))["replication"]!["bytesSent"]!.GetValue<long>();
        foreach (var step in job["steps"]!.AsArray().Where(s => s!["detail"] is not null)) output.WriteLine($"         {step!["name"]}: {step["detail"]}");
        var reported = long.Parse(DetailOf(job, "resynchronization").Split(' ')[0], CultureInfo.InvariantCulture);
        var differed = Differing(await OldCopyAsync(DetailOf(job, "continue-store").Split(' ')[^1]), now);
        Write(round, "reverse " + direction, 0, took.TotalMilliseconds, sent, differed);
        // Pages that both sides wrote alike count as changed, and here they do not: stricter than what is promised.
        Assert.True(Math.Max(sent, reported) <= differed * 1.2 + (64 << 10), $"{sent} bytes were sent, {reported} by the job, where {differed} differed");
        return await _sites.ExportsAsync(Machine);
    }

    private static string DetailOf(JsonNode job, string step) => (string?)job["steps"]!.AsArray().Single(s => (string?)s!["name"] == step)!["detail"] ?? "";

    /// <summary>The losing side to its last write is kept as a point, and a test failover to it shows what lay there.</summary>
    private async Task<byte[][]> OldCopyAsync(string kept)
    {
        await _sites.ActAsync(Machine, "test-failover", new { point = kept });
        var copy = await ReadAsync(await _sites.ExportsAsync(Machine, test: true));
        await _sites.ActAsync(Machine, "test-failover-cleanup");
        return copy;
    }

    private async Task<string[]> MoveAsync(int round, long held)
    {
        var begun = TimeProvider.System.GetTimestamp();
        var job = await _sites.ActAsync(Machine, "planned-failover", new { acknowledge = new[] { "machineStops" } });
        Assert.Contains("nothing is lost", (string?)job["steps"]!.AsArray().Single(s => (string?)s!["name"] == "verify-target")!["detail"], StringComparison.Ordinal);
        _broughtUp = job["id"]!.GetValue<string>();
        Write(round, "planned failover", held, TimeProvider.System.GetElapsedTime(begun).TotalMilliseconds);
        await _sites.ActAsync(Machine, "commit");
        return await _sites.ExportsAsync(Machine);
    }

    private async Task<byte[][]> ReadAsync(string[] uris)
    {
        var disks = new List<byte[]>();
        foreach (var (uri, i) in uris.Select((uri, i) => (uri, i)))
        {
            var copy = _sites.At($"now-{i}.copy");
            await HostProgram.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", "raw", uri, copy]);
            disks.Add(await File.ReadAllBytesAsync(copy, _limit.Token));
        }
        return [.. disks];
    }

    private static long Differing(byte[][] before, byte[][] after)
    {
        long bytes = 0;
        for (var disk = 0; disk < before.Length; disk++)
            for (var at = 0; at < before[disk].Length; at += PageBytes)
                if (!before[disk].AsSpan(at, PageBytes).SequenceEqual(after[disk].AsSpan(at, PageBytes))) bytes += PageBytes;
        return bytes;
    }

    private void Write(int round, string step, long records, double ms, long sent = 0, long differed = 0) => output.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{round,5}  {step,-26} {records,6}  {ms,6:F0}  {sent >> 10,8}  {differed >> 10,12}"));

    public void Dispose() => _limit.Dispose();
}
