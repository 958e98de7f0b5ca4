using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.DataPlane.Export;

/// <summary>The disks of a replica as they are served.</summary>
public interface IReplicaDisks : IAsyncDisposable
{
    IReadOnlyList<(DiskRecord Disk, IBlockDevice Device)> Disks { get; }
}

/// <summary>A replica that is thrown away: nobody replicates what is written to it.</summary>
public sealed class TestDisks(ReplicaLayers layers) : IReplicaDisks
{
    public IReadOnlyList<(DiskRecord Disk, IBlockDevice Device)> Disks { get; } = [.. layers.Disks.Select(d => (d.Disk, (IBlockDevice)new FileDevice(d.File, readOnly: false)))];

    /// <summary>A layer takes nothing more: only opened anew it is as its disk has it.</summary>
    public bool HasFailed => layers.Disks.Any(d => d.File.HasFailed);

    public ValueTask DisposeAsync()
    {
        layers.Dispose();
        return default;
    }
}
