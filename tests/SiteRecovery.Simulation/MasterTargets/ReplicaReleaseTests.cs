using System.Collections.Immutable;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>The end of a protection at a replica that cannot be served any more: nothing that its guest wrote goes with it, wherever that is cut short, and it comes to an end.</summary>
public sealed class ReplicaReleaseTests
{
    private static readonly SiteName Site = new("lyon");
    private static readonly ImmutableArray<DiskSpec> Disks = [new(0, "vda", "/disks/a", ReplicaOnDisk.DiskBytes, "nbd")];
    private readonly byte[] _written = new byte[ReplicaOnDisk.DiskBytes];

    public ReplicaReleaseTests() => new Random(7).NextBytes(_written);

    [Theory]
    [InlineData("/capture/capture", 1)]
    [InlineData("/capture/capture", 2)]
    [InlineData("/disk-0.map", 1)]
    [InlineData("/disk-0.map", 2)]
    public async Task One_that_is_flat_is_handed_over_as_raw_files(string damaged, int seed)
    {
        var left = await FlatAsync();
        Damage(left, damaged);
        await Assert.ThrowsAsync<IOException>(() => ReleaseAsync(left, mayTakeUnserved: false)); // it may be served in a moment, and then who runs on it is asked
        foreach (var image in await ImagesOfReleaseAsync(left, seed)) await AssertRawAsync(left.On(image));
    }

    /// <summary>What the capture must know has a copy, which goes too.</summary>
    private static void Damage(ReplicaOnDisk left, string file)
    {
        foreach (var path in file.EndsWith("/capture", StringComparison.Ordinal) ? [file + ".json", file + ".copy"] : (string[])[file]) left.Disk.Flip(left.Folder + path, 20, 0xFF);
    }

    /// <summary>What its disk only shows must reach it before the store goes, whoever knows of the flush that failed.</summary>
    [Theory]
    [InlineData("disk-0.data", 1)]
    [InlineData("disk-0.data", 2)]
    [InlineData("disk-0.data", 3)]
    [InlineData("disk-0.map", 1)]
    public async Task A_disk_behind_a_flush_that_failed_is_written_anew(string refused, int seed)
    {
        var left = await FlatAsync(flushesItsLastWrite: false);
        var replica = await left.OpenAsync();
        await replica.Disks[0].Device.WriteAsync(0, _written, forceUnitAccess: false, default);
        // Of the disk itself, and then in the release: what it says of that its map does not take.
        left.Disk.Faults = io => io.Kind == IoKind.Flush && Path.GetFileName(io.Path) == "disk-0.data" || io.Kind == IoKind.Write && Path.GetFileName(io.Path) == refused ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await replica.Disks[0].Device.FlushAsync(default));
        await Assert.ThrowsAsync<IOException>(async () => await replica.DisposeAsync());
        left.Disk.Faults = null;
        left.Disk.Flip(left.PathOf(".map"), 20, 0xFF);
        var killed = left.On(left.Disk.Kill());
        killed.Disk.Faults = io => io.Kind == IoKind.Flush && Path.GetFileName(io.Path) == "disk-0.data" ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(() => ReleaseAsync(killed, mayTakeUnserved: true));
        killed.Disk.Faults = null;
        Assert.NotNull(await ReleaseAsync(killed, mayTakeUnserved: true));
        AssertRaw(killed.Disk.LosePower(seed), killed);
    }

    /// <summary>Nor is a part of it taken for a disk: what it lay over is in the store, and stays with it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task One_that_is_not_known_to_be_flat_is_left_with_its_store(int seed)
    {
        var left = await ReplicaOnDisk.FailedOverAsync();
        var replica = await left.OpenAsync();
        await replica.Disks[0].Device.WriteAsync(0, _written.AsMemory(0, 4096), forceUnitAccess: false, default);
        await replica.DisposeAsync();
        Damage(left, "/capture/capture");
        foreach (var image in await ImagesOfReleaseAsync(left, seed))
        {
            var next = left.On(image);
            var released = await ReleaseAsync(next, mayTakeUnserved: true);
            var kept = next.Room.ReleasedFolderOf(ReplicaOnDisk.Machine, "epoch-2");
            Assert.Contains($"All that was left of it is in {kept}", released!.Folder, StringComparison.Ordinal);
            await StoreWork.PerformAsync(next.Room, ReplicaOnDisk.Machine, new RemoveStore(ReplicaOnDisk.Machine, ReplicaOnDisk.Layer, Site), mayTakeUnserved: true, givesUp: false, default);
            var disk = next.Disk.LosePower(seed);
            Assert.Equal(_written[..4096], disk.TryReadAll(kept + "/replica/epoch-2/disk-0.data")![..4096]);
            using var store = RetentionStore.Open(kept, disk, TimeProvider.System);
            store.At(store.ConsistentUpTo!).Release();
        }
    }

    [Fact]
    public async Task Of_one_that_is_gone_with_its_node_nothing_is_waited_for()
    {
        var left = await ReplicaOnDisk.FailedOverAsync();
        var rebuilt = left.On(new SimDisk());
        Assert.Contains("Nothing was left", (await ReleaseAsync(rebuilt, mayTakeUnserved: false))!.Folder, StringComparison.Ordinal);
    }

    /// <summary>The disk that it is on was away when it was released, and is back when its store is to be removed.</summary>
    [Fact]
    public async Task A_store_is_not_removed_with_the_replica_that_is_the_machine()
    {
        var left = await FlatAsync();
        var removed = await StoreWork.PerformAsync(left.Room, ReplicaOnDisk.Machine, new RemoveStore(ReplicaOnDisk.Machine, ReplicaOnDisk.Layer, Site), mayTakeUnserved: false, givesUp: false, default);
        Assert.IsType<StoreRemoved>(removed);
        Assert.False(left.Room.Stores.Has(ReplicaOnDisk.Machine));
        Assert.Equal(_written, left.Disk.LosePower(1).TryReadAll(left.Room.ReleasedFolderOf(ReplicaOnDisk.Machine, "epoch-2") + "/replica/epoch-2/disk-0.data"));
    }

    /// <summary>Whole disks are not given away with their store for what may be read in a moment; and what cannot keeps no protection from its end.</summary>
    [Theory]
    [InlineData(".map", false)]
    [InlineData(".map", true)]
    [InlineData(".data", false)]
    [InlineData(".data", true)]
    public async Task What_cannot_be_read_just_now_is_waited_for(string unreadable, bool forEver)
    {
        var left = await FlatAsync();
        Damage(left, "/capture/capture");
        left.Disk.Faults = io => io.Kind == IoKind.Read && io.Path.EndsWith("disk-0" + unreadable, StringComparison.Ordinal) ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(() => ReleaseAsync(left, mayTakeUnserved: true));
        if (forEver) Assert.NotNull(await ReleaseAsync(left, mayTakeUnserved: true, givesUp: true));
        left.Disk.Faults = null;
        if (forEver) Assert.Contains(left.Room.Files.Folders("/target/released/db1"), f => f.EndsWith("epoch-2", StringComparison.Ordinal));
        else await AssertRawAsync(left);
    }

    /// <summary>A hole that a flush has failed to punch is punched again: the disk that was handed over must not change with the power.</summary>
    [Fact]
    public async Task What_a_released_disk_shows_it_has_behind_a_flush_that_failed_on_zeroes()
    {
        var left = await FlatAsync();
        var replica = await left.OpenAsync();
        await replica.Disks[0].Device.WriteZeroesAsync(0, 32 << 10, mayTrim: true, forceUnitAccess: false, default);
        left.Disk.Faults = io => io.Kind == IoKind.Flush && Path.GetFileName(io.Path) == "disk-0.data" ? Fault.Error : Fault.None;
        await Assert.ThrowsAsync<IOException>(async () => await replica.Disks[0].Device.FlushAsync(default));
        await Assert.ThrowsAsync<IOException>(async () => await replica.DisposeAsync());
        left.Disk.Faults = null;
        Damage(left, "/capture/capture");
        var killed = left.On(left.Disk.Kill());
        Assert.NotNull(await ReleaseAsync(killed, mayTakeUnserved: true));
        var raw = killed.Room.ReleasedFolderOf(ReplicaOnDisk.Machine, "epoch-2") + "/disk-0.raw";
        Assert.Equal(killed.Disk.TryReadAll(raw), killed.Disk.LosePower(1).TryReadAll(raw));
    }

    private async Task<ReplicaOnDisk> FlatAsync(bool flushesItsLastWrite = true)
    {
        var left = await ReplicaOnDisk.FailedOverAsync();
        var replica = await left.OpenAsync();
        if (flushesItsLastWrite) await replica.Disks[0].Device.WriteAsync(0, _written, forceUnitAccess: false, default);
        while (!replica.Flatten()) await Task.Yield();
        await replica.DisposeAsync();
        return left;
    }

    /// <summary>What is left of the disk after each of its I/Os, and of the whole of it.</summary>
    private static async Task<List<SimDisk>> ImagesOfReleaseAsync(ReplicaOnDisk left, int seed)
    {
        var (random, images) = (new Random(seed), new List<SimDisk>());
        left.Disk.After = _ => images.AddRange([left.Disk.Kill(), left.Disk.LosePower(random.Next())]);
        Assert.NotNull(await ReleaseAsync(left, mayTakeUnserved: true));
        left.Disk.After = null;
        return [.. images, left.Disk.Kill()];
    }

    private static async Task<ReplicaReleased?> ReleaseAsync(ReplicaOnDisk left, bool mayTakeUnserved, bool givesUp = false) => (ReplicaReleased?)await StoreWork.PerformAsync(
        left.Room, ReplicaOnDisk.Machine, new ReleaseReplica(ReplicaOnDisk.Machine, ReplicaOnDisk.Layer, ReplicaOnDisk.Layer, Disks, Site), mayTakeUnserved, givesUp, default);

    private async Task AssertRawAsync(ReplicaOnDisk next)
    {
        Assert.Equal(next.Room.ReleasedFolderOf(ReplicaOnDisk.Machine, "epoch-2"), (await ReleaseAsync(next, mayTakeUnserved: true))!.Folder);
        Assert.False(next.Room.Stores.Has(ReplicaOnDisk.Machine));
        AssertRaw(next.Disk.LosePower(1), next);
    }

    private void AssertRaw(SimDisk disk, ReplicaOnDisk next) => Assert.Equal(_written, ((IFileSystem)disk).TryReadAll(next.Room.ReleasedFolderOf(ReplicaOnDisk.Machine, "epoch-2") + "/disk-0.raw"));
}
