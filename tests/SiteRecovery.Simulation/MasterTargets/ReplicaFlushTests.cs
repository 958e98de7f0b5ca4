using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>A flush of a replica's disk that failed, where its layer could not note it: the capture beside it did.</summary>
public sealed class ReplicaFlushTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task What_the_capture_knows_of_a_failed_flush_the_layer_is_written_anew_for(int seed)
    {
        var first = await ReplicaOnDisk.FailedOverAsync();
        var written = Enumerable.Repeat((byte)7, ReplicaOnDisk.DiskBytes).ToArray();
        var replica = await first.OpenAsync();
        await replica.Disks[0].Device.WriteAsync(0, written, forceUnitAccess: false, default);
        first.Disk.Faults = io => (io.Kind, Path.GetFileName(io.Path)) is (IoKind.Flush, "disk-0.data") or (IoKind.Write, "disk-0.map") ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await replica.Disks[0].Device.FlushAsync(default));
        await Assert.ThrowsAsync<IOException>(async () => await replica.DisposeAsync());

        var second = first.On(first.Disk.Kill());
        var again = await second.OpenAsync();
        await again.Disks[0].Device.FlushAsync(default);
        Assert.Equal(written, await ReplicaOnDisk.ReadAsync(await second.On(second.Disk.LosePower(seed)).OpenAsync()));
        // Once: the next one has nothing to write.
        var (third, changes) = (second.On(second.Disk.Kill()), 0);
        third.Disk.After = io => changes += io.Path == third.PathOf(".data") && io.Kind == IoKind.Write ? 1 : 0;
        await third.OpenAsync();
        Assert.Equal(0, changes);
    }

    /// <summary>Until it is cleaned up, every request would fail.</summary>
    [Fact]
    public async Task A_test_behind_a_flush_that_failed_goes_on_when_it_is_ordered_again()
    {
        var room = await ReplicaOnDisk.FailedOverAsync();
        var test = new ServeTest(ReplicaOnDisk.Machine, "t1", room.Room.Stores.StoreOf(ReplicaOnDisk.Machine).ConsistentUpTo!, new SiteName("lyon"));
        Task<object?> ServeAsync() => StoreWork.PerformAsync(room.Room, ReplicaOnDisk.Machine, test, mayTakeUnserved: false, givesUp: false, default);
        Assert.IsType<TestServed>(await ServeAsync());
        room.Disk.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".data", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await Device().FlushAsync(default));
        room.Disk.Faults = null;
        await ServeAsync();
        await Device().WriteAsync(0, new byte[4096], forceUnitAccess: true, default);

        DataPlane.Blocks.IBlockDevice Device() => room.Room.Exports.Find($"{ReplicaOnDisk.Machine}~t1")!.Disks[0].Device;
    }
}
