using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Orders of a protection that come when it has ended.</summary>
public sealed class EndedStoreTests : IDisposable
{
    private static readonly MachineId Machine = new("db1");
    private static readonly DiskGeometry[] Disks = [new(0, "vda", 64 << 10)];
    private readonly string _folder = Directory.CreateTempSubdirectory("ended").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task No_store_is_made_for_them_and_the_next_protections_is_left_alone()
    {
        await using var stores = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System);
        stores.Hold(Machine, Disks, new Epoch(3));
        Assert.True(stores.TryEnd(Machine, new Epoch(3)));
        await stores.RemoveAsync(Machine, CancellationToken.None);

        Assert.Contains("has ended", Assert.Throws<IOException>(() => stores.Hold(Machine, Disks, new Epoch(3))).Message, StringComparison.Ordinal);
        Assert.False(stores.Has(Machine));
        stores.Hold(Machine, Disks, new Epoch(4));
        Assert.False(stores.TryEnd(Machine, new Epoch(3)));
        Assert.True(stores.Has(Machine));
        await using var again = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System); // which has opened none yet
        Assert.False(again.TryEnd(Machine, new Epoch(3)));
        Assert.True(again.TryEnd(Machine, new Epoch(4)));
    }

    [Fact]
    public async Task Removing_a_store_leaves_that_of_a_machine_with_a_longer_name()
    {
        await using var stores = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System);
        var other = new MachineId("db1.removed");
        stores.Hold(Machine, Disks, Epoch.First);
        stores.Hold(other, Disks, Epoch.First);
        await stores.RemoveAsync(Machine, CancellationToken.None);
        Assert.False(stores.Has(Machine));
        Assert.True(stores.Has(other));
        Assert.Equal([stores.FolderOf(other)], Directory.GetDirectories(_folder));
        await stores.RemoveAsync(other, CancellationToken.None);
        Assert.Empty(Directory.GetDirectories(_folder));
    }

    /// <summary>Of versions that gave them a name which a machine may have.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_an_earlier_removal_left_goes_with_the_next_one(bool withManifest)
    {
        await using var stores = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System);
        stores.Hold(Machine, Disks, Epoch.First);
        await stores.RemoveAsync(Machine, CancellationToken.None);
        stores.Hold(Machine, Disks, new Epoch(2));
        stores.StoreOf(Machine).Flush();
        var left = stores.FolderOf(Machine) + ".removed";
        Directory.CreateDirectory(Path.Combine(left, "log"));
        if (withManifest) File.Copy(Path.Combine(stores.FolderOf(Machine), StoreManifest.FileName), Path.Combine(left, StoreManifest.FileName));
        await stores.RemoveAsync(Machine, CancellationToken.None);
        Assert.Empty(Directory.GetDirectories(_folder));
    }

    [Fact]
    public async Task A_store_with_such_a_name_whose_manifest_cannot_be_read_is_left()
    {
        await using var stores = new StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System);
        var other = new MachineId("db1.removed");
        stores.Hold(other, Disks, Epoch.First);
        await File.WriteAllTextAsync(Path.Combine(stores.FolderOf(other), StoreManifest.FileName), "{}");
        await stores.RemoveAsync(Machine, CancellationToken.None);
        Assert.True(stores.Has(other));
    }
}
