using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.World;

/// <summary>A protected machine's host: the real capture over a simulated disk, and a guest that writes and keeps a ledger.</summary>
internal sealed class SimSource
{
    internal const int DiskBytes = 2 << 20;
    private const string DiskPath = "/disks/db1.img";
    private readonly SimClock _clock;
    private readonly Random _random;
    private readonly IStreamTarget _next;
    private CancellationTokenSource _life = new();

    internal SimSource(SimClock clock, Random random, IStreamTarget next)
    {
        (_clock, _random, _next) = (clock, random, next);
        Disk.CreateDirectory("/disks");
        using var file = Disk.Open(DiskPath, FileOpening.Create);
        file.SetLength(DiskBytes);
        file.Flush();
        Disk.FlushFolder("/disks");
    }

    internal SimDisk Disk { get; private set; } = new();
    internal MachineCapture? Capture { get; private set; }
    internal SimLedger Ledger { get; } = new();
    internal long Writes { get; private set; }

    internal async Task StartAsync()
    {
        _life = new CancellationTokenSource();
        var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = SimSites.Machine, Epoch = Epoch.First, StateFolder = "/agent/db1", BufferBytes = 1 << 20, SequencesReserved = 500,
            Disks = [new CaptureDisk(new DiskGeometry(0, "vda", DiskBytes), DiskPath)],
        }, Disk, _clock);
        Ledger.Begin(capture.Status().Newest.Value, Disk.TryReadAll(DiskPath)!);
        Capture = capture;
        if (Writes == 0) await capture.StartSynchronizationAsync();
        _ = capture.RunAsync(_next, _life.Token);
    }

    /// <summary>From here on nothing of it runs; what is left is on the disk.</summary>
    internal void Crash(bool power)
    {
        var image = power ? Disk.LosePower(_random.Next()) : Disk.Kill();
        Disk.TurnOff();
        (Disk, Capture) = (image, null);
        _life.Cancel();
    }

    /// <summary>One write of the guest. It must not wait for anything but the disk.</summary>
    internal void Write()
    {
        if (Capture is not { } capture) return;
        var data = new byte[(_random.Next(24) + 1) * 512];
        if (_random.Next(5) > 0) _random.NextBytes(data);
        var offset = _random.Next((DiskBytes - data.Length) / 512) * 512;
        var write = capture.Disks[0].WriteAsync(offset, data, forceUnitAccess: _random.Next(20) == 0, CancellationToken.None);
        if (!write.IsCompletedSuccessfully) throw new SimViolation("never stall", "a write of the guest waits or fails");
        Writes++;
        Ledger.Add(capture.Status().Newest.Value, offset, data);
    }

    internal byte[] Content() => Disk.TryReadAll(DiskPath)!;
}

/// <summary>What must never be so has come to be so.</summary>
public sealed class SimViolation(string invariant, string what) : Exception($"{invariant}: {what}");
