using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.Retention;

/// <summary>The key file of every simulated master target.</summary>
internal static class SimKey
{
    private const string Path = "/etc/store.key";

    internal static KeyFile Wrapping { get; } = Made();

    private static KeyFile Made()
    {
        var disk = new World.SimDisk();
        disk.CreateDirectory("/etc");
        disk.Replace(Path, "0123456789abcdef0123456789abcdef"u8);
        return new KeyFile(Path, disk);
    }
}
