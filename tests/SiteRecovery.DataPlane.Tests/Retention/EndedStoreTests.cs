using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
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
    }
}
