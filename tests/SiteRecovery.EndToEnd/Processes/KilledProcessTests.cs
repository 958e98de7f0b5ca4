using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>One process of the two sites dies again and again under a guest that writes: replication resumes by itself, and the replica is equal.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class KilledProcessTests(ITestOutputHelper output) : IDisposable
{
    private const long DiskBytes = 256L << 20;
    private const string Machine = "db1";
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(3) + TimeSpan.FromMinutes(4.5) * Rounds.Wanted(1));

    [Fact]
    public async Task Replication_resumes_by_itself_with_a_delta_whichever_process_is_killed()
    {
        await using var sites = await TwoSites.StartAsync(_limit.Token);
        var path = sites.At("disk.raw");
        await GuestDisk.CreateAsync(path, DiskBytes);
        var uris = await sites.ProtectAsync(Machine, path);
        await using var guest = await GuestMachine.StartAsync(uris);
        await guest.ReadyAsync(_limit.Token);
        await sites.ProtectedAsync(Machine);

        output.WriteLine("process    kill  guest waited ms  durable again ms  sent since its start MiB  resent MiB");
        var random = new Random(3);
        for (var kill = 1; kill <= Rounds.Wanted(1); kill++)
            foreach (var process in (string[])[TwoSites.Agent, TwoSites.Primary, TwoSites.Secondary])
            {
                await guest.AcknowledgedAsync(guest.Acknowledged + random.Next(50, 300), _limit.Token);
                await Task.Delay(random.Next(0, 200), _limit.Token);
                sites.Kill(process);
                var killed = TimeProvider.System.GetTimestamp();
                sites.Start(process);
                var acknowledged = guest.Acknowledged;
                await guest.AcknowledgedAsync(acknowledged + 2, _limit.Token);
                var waited = TimeProvider.System.GetElapsedTime(killed);
                var restarted = TimeProvider.System.GetUtcNow();
                await sites.UntilAsync($"{Machine} to have a point after the restart", async () => IsProtectedSince(await sites.MachineAsync(Machine), restarted));
                var again = TimeProvider.System.GetElapsedTime(killed);
                var replication = (await sites.MachineAsync(Machine))["replication"]!;
                output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{process,-9}  {kill,4}  {waited.TotalMilliseconds,15:F0}  {again.TotalMilliseconds,16:F0}  {MiB(replication, "bytesSent"),24:F1}  {MiB(replication, "bytesResent"),10:F1}"));
            }
        await guest.KillAsync();
        Assert.Null(guest.Problem);
        await ProveEqualAsync(sites, path, guest.Acknowledged);
    }

    private async Task ProveEqualAsync(TwoSites sites, string path, long acknowledged)
    {
        await sites.UntilAsync("the last write to be durable", async () =>
            (await sites.MachineAsync(Machine))["replication"] is { } r && r["durableSequence"]!.GetValue<long>() == r["newestSequence"]!.GetValue<long>());
        var replica = await sites.FailOverAsync(Machine);
        await HostProgram.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", "raw", replica.Exports[0], sites.At("equal.copy")]);
        await HostProgram.RunAsync("cmp", [path, sites.At("equal.copy")]); // the agent has locked the disk against programs that would change it
        var records = await GuestDisk.CheckAsync(replica.Exports[0], sites.At(""), "replica");
        Assert.Null(records.Problem);
        Assert.True(records.Count >= acknowledged, $"{acknowledged} records were acknowledged, the replica holds {records.Count}");
    }

    private static bool IsProtectedSince(JsonNode machine, DateTimeOffset time) =>
        machine["state"]!.GetValue<string>() == "Protected" && machine["replication"] is not null && machine["newestPoint"]?["at"]!.GetValue<DateTimeOffset>() > time;

    private static double MiB(JsonNode replication, string name) => replication[name]!.GetValue<long>() / 1048576.0;

    public void Dispose() => _limit.Dispose();
}
