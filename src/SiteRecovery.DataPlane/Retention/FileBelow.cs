using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The file that a disk's `base` names, as promotion reads it.</summary>
internal static class FileBelow
{
    /// <summary>It may lie on another disk, which says nothing of this one by its failing: however long, it is waited for.</summary>
    /// <exception cref="NotReadableYetException"/>
    internal static void ReadBelow(this IBlockFile file, long offset, Span<byte> into)
    {
        try
        {
            file.Read(offset, into);
        }
        catch (IOException failure)
        {
            throw new NotReadableYetException(failure);
        }
    }
}
