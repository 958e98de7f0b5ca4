using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.World;

/// <summary>A protected machine's host: the real capture over a simulated disk, and a guest that writes and keeps a ledger.</summary>
internal sealed class SimSource : SimHost
{
    internal const int DiskBytes = 1 << 20, DiskCount = 2;
    private readonly Random _random;
    private readonly SimLink _next;
    private CancellationTokenSource _running = new();

    internal SimSource(SimClock time, Random random, SimLink next) : base("source", time, random)
    {
        (_random, _next) = (random, next);
        Disk.CreateDirectory("/disks");
        for (var disk = 0; disk < DiskCount; disk++)
        {
            using var file = Disk.Open(PathOf(disk), FileOpening.Create);
            file.SetLength(DiskBytes);
            file.Flush();
        }
        Disk.FlushFolder("/disks");
    }

    internal MachineCapture? Capture { get; private set; }
    internal SimLedger Ledger { get; } = new();
    internal long Writes { get; private set; }

    protected override async Task RunAsync()
    {
        var running = _running = new CancellationTokenSource();
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = SimSites.Machine, Epoch = Epoch.First, StateFolder = "/agent/db1", BufferBytes = 1 << 20, SequencesReserved = 500,
            Disks = [.. Enumerable.Range(0, DiskCount).Select(d => new CaptureDisk(new DiskGeometry((ushort)d, $"vd{(char)('a' + d)}", DiskBytes), PathOf(d)))],
        }, Disk, Clock);
        Ledger.Begin(capture.Status().Newest.Value, Content());
        if (Writes == 0) await capture.StartSynchronizationAsync();
        Capture = capture;
        _ = capture.RunAsync(_next, running.Token);
    }

    protected override void Cut()
    {
        Capture = null;
        _next.Drop("the agent has ended");
    }

    protected override void End() => _running.Cancel();

    /// <summary>One write of the guest. It must not wait for anything but the disk.</summary>
    internal void Write()
    {
        if (Capture is not { } capture) return;
        var (disk, trims, unitAccess) = (_random.Next(DiskCount), _random.Next(12) == 0, _random.Next(20) == 0);
        var data = new byte[(_random.Next(24) + 1) * 512];
        if (!trims && _random.Next(8) > 0) _random.NextBytes(data);
        var offset = _random.Next((DiskBytes - data.Length) / 512) * 512;
        var before = capture.Status().Newest.Value;
        var write = trims ? capture.Disks[disk].WriteZeroesAsync(offset, data.Length, mayTrim: true, unitAccess, CancellationToken.None)
            : capture.Disks[disk].WriteAsync(offset, data, unitAccess, CancellationToken.None);
        if (!write.IsCompleted) throw new SimViolation("never stall", "a write of the guest waits");
        Written(capture, write.AsTask().Exception?.InnerException, before, disk * DiskBytes + offset, data);
    }

    private void Written(MachineCapture capture, Exception? failed, long before, int offset, byte[] data)
    {
        // With its host down nobody was told anything, and what is on the disk is looked at when it is up again.
        if (Capture != capture) return;
        Writes++;
        var newest = capture.Status().Newest.Value;
        if (newest > before) Ledger.Add(newest, Clock.GetUtcNow(), offset, data);
        else if (failed is IOException) Ledger.Begin(newest, Content());
        else throw new SimViolation("never stall", $"a write of the guest failed: {failed}");
    }

    /// <summary>All disks, as they are.</summary>
    internal byte[] Content()
    {
        var content = new byte[DiskCount * DiskBytes];
        for (var disk = 0; disk < DiskCount; disk++) Disk.Peek(PathOf(disk), content.AsSpan(disk * DiskBytes, DiskBytes));
        return content;
    }

    private static string PathOf(int disk) => $"/disks/db1-{disk}.img";
}

/// <summary>What must never be so has come to be so.</summary>
public sealed class SimViolation(string invariant, string what) : Exception($"{invariant}: {what}")
{
    internal string Invariant => invariant;
}
