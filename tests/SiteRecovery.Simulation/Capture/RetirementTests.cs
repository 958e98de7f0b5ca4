using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>More regions are active than stay so, and the guest never flushes: what is only in memory is lost with the power, and the target has it.</summary>
public sealed class RetirementTests : IAsyncDisposable
{
    private const int Regions = 1100, Ticking = Regions;
    private const long DiskBytes = (Regions + 1L) * BitmapFile.RegionBytes;
    private const string Folder = "/agent/machines/m1", DiskPath = "/disks/m1.img", BitmapPath = Folder + "/disk-0.bitmap";
    private readonly SimDisk _disk = new();
    private readonly SkippingClock _clock = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly WatchedFile _file;
    private MachineCapture? _capture;
    private Task _running = Task.CompletedTask;
    private byte _ticks;

    public RetirementTests()
    {
        foreach (var folder in (string[])["/disks", Folder]) _disk.CreateDirectory(folder);
        using (var file = _disk.Open(DiskPath, FileOpening.Create))
        {
            file.SetLength(DiskBytes);
            file.Flush();
        }
        _disk.FlushFolder("/disks");
        _file = new WatchedFile(_disk.Open(DiskPath, FileOpening.ReadWrite));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        if (_capture is not null) await _capture.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task What_differs_after_a_loss_of_power_is_marked()
    {
        await WrittenAsync();
        await UntilAsync(() => Enumerable.Range(0, 8).Any(power => UnsyncedAfter(power) < Regions * 64L));
        for (var power = 0; power < 32; power++)
        {
            var after = _disk.LosePower(power);
            using var bitmap = BitmapFile.Open(after, BitmapPath, DiskBytes, after.BootId);
            using var file = after.Open(DiskPath, FileOpening.Read);
            var left = new byte[512];
            for (var region = 0L; region < Regions; region++)
            {
                file.Read(region * BitmapFile.RegionBytes, left);
                if (left[0] != 7 && !bitmap.Unsynced[region * 64]) Assert.Fail($"without power ({power}): region {region} is lost and not marked");
            }
        }
    }

    [Fact]
    public async Task A_flush_of_it_that_fails_is_known_like_any_other()
    {
        await WrittenAsync();
        _disk.Faults = io => io.Kind == IoKind.Flush && io.Path == DiskPath ? Fault.Error : Fault.None;
        await UntilAsync(() => CaptureState.TryLoad(_disk, Folder + "/capture.json")!.FlushFailedIn is not null);
        _disk.Faults = null;
        for (var round = 0; round < 3; round++) await TickAsync();
        var after = _disk.LosePower(1);
        await using var again = await MachineCapture.OpenAsync(Options(null), after, _clock);
        Assert.Equal(DiskBytes, again.Status().DirtyBytes);
    }

    [Fact]
    public async Task Neither_a_write_nor_the_stream_waits_for_the_flush()
    {
        using ManualResetEventSlim begun = new(), released = new();
        await WrittenAsync();
        _file.Flushing = flush =>
        {
            begun.Set();
            released.Wait(TimeSpan.FromSeconds(60));
            flush();
        };
        try
        {
            await UntilAsync(() => begun.IsSet);
            for (var round = 0; round < 3; round++) await TickAsync();
        }
        finally
        {
            released.Set();
        }
    }

    /// <summary>A guest waits for it in its write: two gigabytes that are discarded are one request.</summary>
    [Fact]
    public async Task All_regions_of_a_request_are_made_active_by_one_flush()
    {
        _capture = await MachineCapture.OpenAsync(Options(_file), _disk, _clock);
        var flushes = 0;
        _disk.After = io => flushes += io is { Kind: IoKind.Flush, Path: BitmapPath } ? 1 : 0;
        await _capture.Disks[0].WriteZeroesAsync(3L * BitmapFile.RegionBytes, 2L << 30, true, false, default);
        Assert.Equal(1, flushes);
        await _capture.Disks[0].WriteZeroesAsync(500L * BitmapFile.RegionBytes, 8L * BitmapFile.RegionBytes, true, false, default);
        Assert.Equal(1, flushes);
        _capture.Disks[0].Bitmap.Current.ClearAll(); // a target has it
        Assert.InRange(UnsyncedAfter(1), 512 * 64, 513 * 64);
    }

    private async Task WrittenAsync()
    {
        _capture = await MachineCapture.OpenAsync(Options(_file), _disk, _clock);
        _running = _capture.RunAsync(new TakingTarget(), _stop.Token);
        await _capture.StartSynchronizationAsync();
        var data = Enumerable.Repeat((byte)7, 512).ToArray();
        for (var region = 0L; region < Regions; region++) await _capture.Disks[0].WriteAsync(region * BitmapFile.RegionBytes, data, false, default);
        await DurableAsync();
    }

    /// <summary>A minute goes by, in which one region is written to.</summary>
    private async Task TickAsync()
    {
        _clock.Skip(TimeSpan.FromSeconds(61));
        await _capture!.Disks[0].WriteAsync(Ticking * (long)BitmapFile.RegionBytes, new[] { ++_ticks }, false, default);
        await DurableAsync();
    }

    private async Task DurableAsync()
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (_capture!.Status() is not { Complete: true } status || status.Durable != status.Newest) await Task.Delay(2, deadline.Token);
    }

    private async Task UntilAsync(Func<bool> condition)
    {
        for (var minutes = 0; !condition(); minutes++)
        {
            Assert.InRange(minutes, 0, 200);
            await TickAsync();
        }
    }

    private long UnsyncedAfter(int power)
    {
        var after = _disk.LosePower(power);
        using var bitmap = BitmapFile.Open(after, BitmapPath, DiskBytes, after.BootId);
        return bitmap.Unsynced.Count;
    }

    private static CaptureOptions Options(IBlockFile? file) => new()
    {
        Machine = new MachineId("m1"), Epoch = Epoch.First, StateFolder = Folder, ForkedAt = new Sequence(5), Linger = TimeSpan.Zero,
        Disks = [new CaptureDisk(new DiskGeometry(0, "sda", DiskBytes), DiskPath, file)],
    };

    /// <summary>The system's, except that time may be skipped.</summary>
    private sealed class SkippingClock : TimeProvider
    {
        private long _skipped;

        internal void Skip(TimeSpan time) => Interlocked.Add(ref _skipped, (long)(time.TotalSeconds * TimestampFrequency));

        public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _skipped);
    }
}
