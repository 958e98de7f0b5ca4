using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>A disk whose flush failed shows what it took, and forgets it: the target may have it, and no bit says so.</summary>
public sealed class ForgottenWritesTests
{
    private const int DiskBytes = 64 << 20; // more than the regions that one write makes active
    private const string Folder = "/agent/machines/m1", DiskPath = "/disks/m1.img";
    private readonly SimDisk _disk = new();
    private readonly byte[] _written = new byte[64 << 10];

    public ForgottenWritesTests()
    {
        foreach (var folder in (string[])["/disks", Folder]) _disk.CreateDirectory(folder);
        using (var file = _disk.Open(DiskPath, FileOpening.Create))
        {
            file.SetLength(DiskBytes);
            file.Flush();
        }
        _disk.FlushFolder("/disks");
        new Random(1).NextBytes(_written);
    }

    /// <summary>Its guest would read what may be gone in the next moment, and go on with what is there then.</summary>
    [Fact]
    public async Task A_disk_shows_what_it_has_as_soon_as_a_flush_of_it_fails_and_all_of_it_is_compared()
    {
        var capture = await WithAFailedFlushAsync();
        AssertShowsWhatIsLeft(_disk);
        Assert.Equal((DiskBytes, 2), (capture.Status().DirtyBytes, capture.Status().Newest.Value - new Sequence(5).Value));
    }

    [Fact]
    public async Task After_a_loss_of_power_every_block_is_compared_once()
    {
        await WithAFailedFlushAsync();
        var after = _disk.LosePower(1);
        var capture = await OpenAsync(after);
        Assert.Equal(DiskBytes, capture.Status().DirtyBytes);
        Assert.Contains("a flush of a disk failed", capture.Status().ResynchronizationReason);
        capture.Disks[0].Bitmap.Unsynced.ClearAll();
        capture.Disks[0].Bitmap.Flush();
        await capture.DisposeAsync();
        Assert.NotEqual(DiskBytes, (await OpenAsync(after.LosePower(2))).Status().DirtyBytes);
    }

    /// <summary>Also where the process was killed in between: the host has shown it all the while.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_is_told_as_the_tail_of_a_fenced_machine_whose_disk_shows_what_is_left(bool killed)
    {
        var capture = await WithAFailedFlushAsync();
        var disk = _disk;
        if (killed) capture = await OpenAsync(disk = disk.Kill());
        capture.Disks[0].Bitmap.Unsynced.ClearAll(); // a target has said that all of it is durable
        await capture.FenceAsync(Epoch.First);
        Assert.Equal([new DiskRange(0, 0, DiskBytes)], capture.NotKnownDurable());
        AssertShowsWhatIsLeft(disk);
    }

    /// <summary>The end of a process, told to end or killed, comes before it could be saved anywhere that a loss of power leaves.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task One_that_could_not_be_saved_is_known_to_the_next_process(bool killed)
    {
        var capture = await OpenAsync(_disk);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        _disk.Faults = io => io.Kind == IoKind.Flush ? Fault.Error : Fault.None;
        if (killed) await Assert.ThrowsAsync<IOException>(async () => await capture.Disks[0].FlushAsync(default));
        else await Assert.ThrowsAsync<IOException>(async () => await capture.DisposeAsync());
        _disk.Faults = null;
        var disk = _disk.Kill();
        capture = await OpenAsync(disk);
        capture.Disks[0].Bitmap.Unsynced.ClearAll();
        await capture.FreezeAsync(1, default);
        AssertShowsWhatIsLeft(disk);
        await capture.FenceAsync(Epoch.First);
        Assert.Equal([new DiskRange(0, 0, DiskBytes)], capture.NotKnownDurable());
    }

    /// <summary>The region of a write must be on the disk before it is written to, and the next process finds it in the cache.</summary>
    [Fact]
    public async Task What_a_process_before_could_not_flush_of_a_bitmap_is_flushed_by_the_next()
    {
        for (var i = 1; i <= 12; i++)
        {
            await (await OpenAsync(_disk)).DisposeAsync(); // which sectors a flush that fails leaves out is another matter each time
            var disk = _disk.Kill();
            var capture = await OpenAsync(disk);
            disk.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".bitmap", StringComparison.Ordinal) ? Fault.Error : Fault.None;
            await Assert.ThrowsAsync<IOException>(async () => await capture.Disks[0].WriteAsync(0, _written, false, default));
            disk = disk.Kill();
            capture = await OpenAsync(disk);
            await capture.Disks[0].WriteAsync(0, _written, false, default);
            capture.Disks[0].Bitmap.Unsynced.ClearAll(); // a target has it, and the disk loses it with its power
            for (var power = 0; power < 8; power++) Assert.InRange((await OpenAsync(disk.LosePower(power))).Status().DirtyBytes, BitmapFile.RegionBytes, DiskBytes);
        }
    }

    [Fact]
    public async Task One_that_could_not_be_saved_is_known_to_whoever_fences_a_machine_that_is_not_open()
    {
        var capture = await OpenAsync(_disk);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        var killed = _disk.Kill();
        killed.Faults = io => io.Kind == IoKind.Flush ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => MachineCapture.FenceStored(Folder, Epoch.First, killed, [DiskPath]));
        killed.Faults = null;
        MachineCapture.FenceStored(Folder, Epoch.First, killed, [DiskPath]);
        Assert.Equal([new DiskRange(0, 0, DiskBytes)], (await OpenAsync(killed)).NotKnownDurable());
    }

    [Fact]
    public async Task A_disk_that_cannot_be_flushed_keeps_no_machine_from_being_fenced()
    {
        var capture = await OpenAsync(_disk);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        _disk.Faults = IsFlushOfDisk;
        await capture.FenceAsync(Epoch.First);
        Assert.True(capture.IsFenced);
        Assert.Equal([new DiskRange(0, 0, DiskBytes)], capture.NotKnownDurable());
        AssertShowsWhatIsLeft(_disk);
    }

    [Fact]
    public async Task A_machine_that_was_not_open_when_it_was_fenced_tells_it_too()
    {
        var capture = await OpenAsync(_disk);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        var killed = _disk.Kill();
        killed.Faults = IsFlushOfDisk;
        MachineCapture.FenceStored(Folder, Epoch.First, killed, [DiskPath]);
        killed.Faults = null;
        AssertShowsWhatIsLeft(killed);
        Assert.Equal([new DiskRange(0, 0, DiskBytes)], (await OpenAsync(killed)).NotKnownDurable());
    }

    /// <summary>What the ended one knew has gone with it, and the new one's target would be given what a loss of power takes away unseen.</summary>
    [Fact]
    public async Task A_protection_behind_one_that_has_ended_begins_with_what_is_left()
    {
        await EndedAsync();
        await OpenAsync(_disk, fork: null);
        AssertShowsWhatIsLeft(_disk);
    }

    /// <summary>Its agent was away when the one before ended, and has its folder still; of other disks, say.</summary>
    [Fact]
    public async Task So_does_one_that_finds_the_folder_of_another()
    {
        await EndedAsync();
        new CaptureState { Epoch = 1 }.Save(_disk, Folder + "/capture.json");
        await OpenAsync(_disk, fork: null);
        Assert.Equal(_written, Shown());
        await OpenAsync(_disk, fork: null, anew: true);
        AssertShowsWhatIsLeft(_disk);
    }

    [Fact]
    public async Task And_one_that_was_fenced_before_it_was_ever_open()
    {
        await EndedAsync();
        MachineCapture.FenceStored(Folder, Epoch.First, _disk, [DiskPath]);
        AssertShowsWhatIsLeft(_disk);
    }

    private async Task EndedAsync()
    {
        await (await OpenAsync(_disk)).DisposeAsync();
        _disk.DeleteFolder(Folder);
        _disk.CreateDirectory(Folder);
        // Whoever had the disks in between.
        using var file = _disk.Open(DiskPath, FileOpening.ReadWrite);
        file.Write(0, _written);
        _disk.Faults = IsFlushOfDisk;
        Assert.Throws<IOException>(file.Flush);
        _disk.Faults = null;
    }

    private byte[] Shown()
    {
        var shown = new byte[_written.Length];
        _disk.Peek(DiskPath, shown);
        return shown;
    }

    /// <summary>It was hashed while it showed more than it has.</summary>
    [Fact]
    public async Task A_planned_failover_compares_what_is_left()
    {
        var capture = await WithAFailedFlushAsync();
        await capture.HashAsync(default);
        await capture.FreezeAsync(1, default);
        AssertShowsWhatIsLeft(_disk);
        var frozen = await capture.RootHashAsync(default);
        Assert.Equal(await (await OpenAsync(_disk.LosePower(3))).RootHashAsync(default), frozen);

        var at = capture.Status().Newest;
        await capture.FenceAsync(Epoch.First);
        Assert.Equal(at, capture.Status().Newest); // what was compared is where it ends
    }

    /// <summary>Whoever flushes behind it is told that all is well.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_fence_or_a_planned_failover_waits_for_a_flush_of_the_guest_that_fails(bool fence)
    {
        using ManualResetEventSlim failed = new(), noted = new();
        var file = new WatchedFile(_disk.Open(DiskPath, FileOpening.ReadWrite));
        var capture = await MachineCapture.OpenAsync(Options(new Sequence(5), false, file), _disk, TimeProvider.System);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        file.Flushing = flush =>
        {
            file.Flushing = null;
            _disk.Faults = IsFlushOfDisk;
            try
            {
                flush();
            }
            finally
            {
                _disk.Faults = null;
                failed.Set();
                noted.Wait(TimeSpan.FromSeconds(30));
            }
        };
        var guest = Task.Run(async () => await capture.Disks[0].FlushAsync(default));
        failed.Wait(TimeSpan.FromSeconds(30));
        var ending = fence ? capture.FenceAsync(Epoch.First) : capture.FreezeAsync(1, default);
        noted.Set();
        await Assert.ThrowsAsync<IOException>(() => guest);
        await ending;
        AssertShowsWhatIsLeft(_disk);
    }

    /// <summary>What was written while nobody kept account of it may still be in memory when a target has it.</summary>
    [Fact]
    public async Task A_protection_that_finds_the_folder_of_another_knows_nothing_of_its_disks()
    {
        await (await OpenAsync(_disk)).DisposeAsync();
        using (var file = _disk.Open(DiskPath, FileOpening.ReadWrite)) file.Write(DiskBytes / 2, _written);
        var capture = await OpenAsync(_disk, fork: null, anew: true);
        capture.MarkAllUnsynced();
        capture.Disks[0].Bitmap.Unsynced.ClearAll(); // a target has all of it
        capture.Disks[0].Bitmap.Flush();
        for (var power = 0; power < 8; power++) Assert.Equal(DiskBytes, (await OpenAsync(_disk.LosePower(power))).Status().DirtyBytes);
    }

    private async Task<MachineCapture> WithAFailedFlushAsync()
    {
        var capture = await OpenAsync(_disk);
        await capture.Disks[0].WriteAsync(0, _written, false, default);
        _disk.Faults = IsFlushOfDisk;
        await Assert.ThrowsAsync<IOException>(async () => await capture.Disks[0].FlushAsync(default));
        _disk.Faults = null;
        await capture.Disks[0].FlushAsync(default); // which says nothing of it
        return capture;
    }

    private void AssertShowsWhatIsLeft(SimDisk disk)
    {
        byte[] shown = new byte[DiskBytes], left = new byte[DiskBytes];
        disk.Peek(DiskPath, shown);
        disk.LosePower(7).Peek(DiskPath, left);
        Assert.Equal(left, shown);
        Assert.NotEqual(_written, shown[.._written.Length]);
    }

    private static Fault IsFlushOfDisk(SimIo io) => io.Kind == IoKind.Flush && io.Path == DiskPath ? Fault.Error : Fault.None;

    private static Task<MachineCapture> OpenAsync(SimDisk disk) => OpenAsync(disk, new Sequence(5));

    private static Task<MachineCapture> OpenAsync(SimDisk disk, Sequence? fork, bool anew = false) => MachineCapture.OpenAsync(Options(fork, anew), disk, TimeProvider.System);

    private static CaptureOptions Options(Sequence? fork, bool anew, IBlockFile? file = null) => new()
    {
        Machine = new MachineId("m1"), Epoch = Epoch.First, StateFolder = Folder, ForkedAt = fork, BeginsAnew = anew,
        Disks = [new CaptureDisk(new DiskGeometry(0, "sda", DiskBytes), DiskPath, file)],
    };
}
