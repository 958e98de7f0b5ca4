using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>What a guest wrote, and of which no flush of its own has failed, is there when its replica is opened again by the next process of the same life of the host.</summary>
public sealed class UntoldLossTests
{
    private readonly byte[] _below = new byte[ReplicaOnDisk.DiskBytes];

    public UntoldLossTests() => new Random(3).NextBytes(_below);

    /// <summary>The flush of the one disk failed; the other one was never flushed, and nobody was told anything of it.</summary>
    [Fact]
    public async Task Zeroes_of_a_disk_are_not_undone_by_a_flush_that_failed_on_another_one()
    {
        var left = await ReplicaOnDisk.FailedOverAsync(_below, disks: 2);
        var replica = await left.OpenAsync();
        await replica.Disks[1].Device.WriteZeroesAsync(0, 8192, mayTrim: true, forceUnitAccess: false, default);
        await replica.Disks[0].Device.WriteAsync(0, new byte[512], forceUnitAccess: false, default);
        left.Disk.Faults = io => io.Kind == IoKind.Flush && Path.GetFileName(io.Path) == "disk-0.data" ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await replica.Disks[0].Device.FlushAsync(default));
        left.Disk.Faults = null;
        var next = left.On(left.Disk.Kill());
        var again = await next.OpenAsync();
        var shown = new byte[8192];
        await again.Disks[1].Device.ReadAsync(0, shown, default);
        await again.DisposeAsync();
        Assert.Equal(new byte[8192], shown);
    }

    /// <summary>What the layer lies over cannot be read in this moment, which is to be waited for; the layer must be as it was then.</summary>
    [Fact]
    public async Task An_opening_that_fails_for_what_lies_below_changes_nothing_of_the_layer()
    {
        var left = await ReplicaOnDisk.FailedOverAsync(_below);
        var replica = await left.OpenAsync();
        await replica.Disks[0].Device.WriteZeroesAsync(0, 4096, mayTrim: true, forceUnitAccess: false, default);
        var written = Enumerable.Repeat((byte)7, 512).ToArray();
        await replica.Disks[0].Device.WriteAsync(0, written, forceUnitAccess: false, default);
        left.Disk.Faults = io => io.Kind == IoKind.Flush && Path.GetFileName(io.Path) == "disk-0.data" ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await replica.Disks[0].Device.FlushAsync(default));
        left.Disk.Faults = null;
        var next = left.On(left.Disk.Kill());
        var store = next.Room.Stores.StoreOf(ReplicaOnDisk.Machine); // it is open already
        Assert.NotNull(store);
        next.Disk.Faults = io => io.Kind == IoKind.Read && !io.Path.StartsWith(next.Folder, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await Assert.ThrowsAnyAsync<Exception>(next.OpenAsync);
        next.Disk.Faults = null;
        var again = await next.OpenAsync();
        var shown = new byte[512];
        await again.Disks[0].Device.ReadAsync(0, shown, default);
        await again.DisposeAsync();
        Assert.Equal(written, shown);
    }

    /// <summary>Nobody takes back the note of a test's layer: behind one flush that failed, each process that is killed undoes zeroes, whatever went well since.</summary>
    [Fact]
    public async Task Zeroes_of_a_test_are_not_undone_for_a_flush_that_failed_long_before()
    {
        var left = await ReplicaOnDisk.FailedOverAsync(_below);
        await ServeAsync(left);
        left.Disk.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".data", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await DeviceOf(left).FlushAsync(default));
        left.Disk.Faults = null;
        await ServeAsync(left);
        await DeviceOf(left).FlushAsync(default); // all is well again
        await DeviceOf(left).WriteZeroesAsync(0, 8192, mayTrim: true, forceUnitAccess: false, default);
        var next = left.On(left.Disk.Kill());
        await ServeAsync(next);
        var shown = new byte[8192];
        await DeviceOf(next).ReadAsync(0, shown, default);
        Assert.Equal(new byte[8192], shown);

        static Task<object?> ServeAsync(ReplicaOnDisk on) => StoreWork.PerformAsync(
            on.Room, ReplicaOnDisk.Machine, new ServeTest(ReplicaOnDisk.Machine, "t1", on.Room.Stores.StoreOf(ReplicaOnDisk.Machine).ConsistentUpTo!, new SiteName("lyon")), mayTakeUnserved: false, givesUp: false, default);

        static DataPlane.Blocks.IBlockDevice DeviceOf(ReplicaOnDisk on) => on.Room.Exports.Find($"{ReplicaOnDisk.Machine}~t1")!.Disks[0].Device;
    }
}
