using System.Globalization;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The agent dies and starts again under a guest that writes: the guest waits a moment and sees nothing else.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class AgentRestartTests(ITestOutputHelper output) : IDisposable
{
    private const long DiskBytes = 512L << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-agent-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(1) + TimeSpan.FromSeconds(20) * Rounds.Wanted(2));

    private string At(string name) => Path.Combine(_folder, name);

    [Fact]
    public async Task A_guest_survives_the_killing_of_its_agent_and_replication_goes_on_with_a_delta()
    {
        string[] paths = [At("vda.raw"), At("vdb.raw")];
        foreach (var path in paths) await GuestDisk.CreateAsync(path, DiskBytes);
        await using var agent = new AgentUnderTest(_folder, "db1", paths);
        agent.Start();
        await UntilAsync(() => agent.Status is not null);
        await using var guest = await GuestMachine.StartAsync(agent.CaptureUris);
        Assert.Equal([0, 0], await guest.ReadyAsync(_limit.Token));
        await UntilAsync(() => IsProtected(agent));

        output.WriteLine("kill  guest waited ms  protected again ms  examined MiB  shipped MiB");
        var random = new Random(5);
        for (var kill = 1; kill <= Rounds.Wanted(2); kill++)
        {
            await guest.AcknowledgedAsync(guest.Acknowledged + random.Next(1, 200), _limit.Token);
            await Task.Delay(random.Next(0, 50), _limit.Token);
            agent.Kill();
            var killed = TimeProvider.System.GetTimestamp();
            agent.Start();
            await guest.AcknowledgedAsync(guest.Acknowledged + 2, _limit.Token);
            var waited = TimeProvider.System.GetElapsedTime(killed);
            await UntilAsync(() => IsProtected(agent));
            var (again, status) = (TimeProvider.System.GetElapsedTime(killed), agent.Status!);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{kill,4}  {waited.TotalMilliseconds,15:F0}  {again.TotalMilliseconds,18:F0}  {status.BytesTotal / 1048576.0,12:F1}  {status.BytesShipped / 1048576.0,11:F1}"));
            Assert.True(status.BytesTotal < DiskBytes, "after a restart only what was under way is examined, not whole disks");
        }
        await guest.KillAsync();
        Assert.Null(guest.Problem);
        await ProveEqualAsync(agent, paths, guest.Acknowledged);
    }

    /// <summary>With the guest dead and the stream drained, the replica is the disks, byte for byte, and holds every acknowledged record.</summary>
    private async Task ProveEqualAsync(AgentUnderTest agent, string[] paths, long acknowledged)
    {
        await UntilAsync(() => IsProtected(agent) && agent.Status is { } s && s.DurableSequence == s.NewestSequence);
        foreach (var (uri, i) in agent.CaptureUris.Select((uri, i) => (uri, i)))
        {
            var records = await GuestDisk.CheckAsync(uri, _folder, "source");
            Assert.Null(records.Problem);
            Assert.InRange(records.Count, acknowledged, acknowledged + 2);
            Assert.True(await EqualsAsync(agent.Stores, (ushort)i, paths[i]), $"the replica of disk {i} differs from the disk");
        }
    }

    private async Task<bool> EqualsAsync(StoreReceiver stores, ushort disk, string path)
    {
        var store = stores.StoreOf(new MachineId("db1"));
        var view = store.At(store.ResolvePoint(new PointSelector.Latest())!).Disk(disk);
        await using var file = File.OpenRead(path);
        var (theirs, ours) = (new byte[1 << 20], new byte[1 << 20]);
        for (long at = 0; at < DiskBytes; at += ours.Length)
        {
            await file.ReadExactlyAsync(ours, _limit.Token);
            await view.ReadAsync(at, theirs, _limit.Token);
            if (!ours.AsSpan().SequenceEqual(theirs)) return false;
        }
        return true;
    }

    private static bool IsProtected(AgentUnderTest agent) =>
        agent.Status is { Mode: "Streaming" } && agent.Stores.ReportOf(new MachineId("db1")).Consistent;

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public void Dispose()
    {
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
