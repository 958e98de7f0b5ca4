using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Where a disk did not give what promotion needs, and since when: one bad sector must not keep everything for ever. Not safe for concurrent calls.</summary>
internal sealed class UnreadablePlaces(TimeProvider time)
{
    private readonly Dictionary<(int Of, long Offset), long> _since = [];

    /// <summary>Whatever cannot be read was waited for, and needs not be again.</summary>
    internal bool GivesUp { get; set; }

    /// <summary>A disk of the base, beside the numbers of segments.</summary>
    internal static int OfDisk(ushort disk) => -1 - disk;

    /// <summary>Of a segment, for whoever leaves it as it is if a part of it is damaged: all of its frames, of its headers, and what its end is told anew from. Each by itself: that one was read says nothing of another.</summary>
    internal const long Frames = -1, Headers = -2, End = -3;

    /// <summary>What an image says of its blocks, beside the blocks.</summary>
    internal static long OfTable(long offset) => -1 - offset;

    /// <summary>Whether what failed is damaged, or has not been readable for long.</summary>
    internal bool IsDamage(IOException failure, int of, long offset)
    {
        if (DiskFailure.IsDamage(failure)) return true;
        if (GivesUp) _since[(of, offset)] = time.GetTimestamp() - (long)(DiskFailure.Patience.TotalSeconds * time.TimestampFrequency);
        return !_since.TryAdd((of, offset), time.GetTimestamp()) && time.GetElapsedTime(_since[(of, offset)]) >= DiskFailure.Patience;
    }

    internal void WasRead(int of, long offset)
    {
        if (_since.Count > 0) _since.Remove((of, offset));
    }

    internal void Forget() => _since.Clear();
}
