using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The root hash of disks that are arrays.</summary>
internal static class ModelRoot
{
    internal static string Of(params IReadOnlyList<byte[]> disks)
    {
        using var root = new RootHash();
        for (var i = 0; i < disks.Count; i++)
        {
            root.AddDisk((ushort)i, disks[i].Length);
            root.AddContent(disks[i]);
        }
        return root.Finish();
    }
}
