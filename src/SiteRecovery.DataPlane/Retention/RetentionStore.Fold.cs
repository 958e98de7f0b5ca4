using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What was written to a disk of a view beside the store.</summary>
/// <param name="File">The whole disk as it is now.</param>
/// <param name="Runs">Where it was written.</param>
public sealed record WrittenDisk(ushort Disk, IBlockFile File, IEnumerable<(long Offset, long Length)> Runs);

/// <summary>What the losing side of a fork had: taken into the log, and told.</summary>
public sealed partial class RetentionStore
{
    /// <summary>The current epoch continues another one's log, or forks from a position that is lost, and no stream has made it whole: it has no state yet.</summary>
    public bool LacksItsStream
    {
        get
        {
            lock (_gate) return _history.LacksItsStream;
        }
    }

    /// <summary>
    /// Takes what was written over the newest state into the current epoch's log and marks a point there, durable when it returns. With no disks it only marks
    /// the point. Repeating it, also after a crash, comes to the same state; no stream may run meanwhile.
    /// </summary>
    /// <param name="last">The position that the writes have reached; if the log is further, it is the log's. Only what is repeated may name the log's own position again: else the position
    /// would name two states, and what is damaged at the log's end would show the one in place of the other.</param>
    /// <exception cref="InvalidDataException">The epoch continues another one's log and its stream has not made it whole: there is nothing to fold onto.</exception>
    public RecoveryPoint Fold(IReadOnlyList<WrittenDisk> disks, Sequence last, DateTimeOffset time, string label)
    {
        BatchHeader begun;
        lock (_gate)
        {
            if (_history.LacksItsStream) throw new InvalidDataException($"epoch {_history.Current} lacks what its stream has not brought yet");
            begun = new BatchHeader
            {
                Kind = BatchKind.Marker, MachineTag = BatchCodec.TagOf(Machine), Epoch = _history.Current, Incarnation = _history.Held.Incarnation + 1, Ordinal = 0,
                First = _history.Newest, Last = _history.Newest, Time = time,
            };
        }
        if (last < begun.Last) last = begun.Last;
        var stream = new FoldStream(this, begun);
        stream.Mark(MarkerKind.StreamStart, begun.Last, "gap"u8);
        foreach (var disk in disks) stream.Add(disk);
        stream.Mark(MarkerKind.SyncCompleted, last, default);
        stream.Mark(MarkerKind.CrashConsistentPoint, last, Encoding.UTF8.GetBytes(label));
        Flush();
        lock (_gate) return _history.Resolve(begun.Epoch, last)!;
    }

    /// <summary>What was written behind a point and before an epoch, as far as it has arrived here: each byte once, ascending by disk and offset.</summary>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    public IReadOnlyList<(ushort Disk, long Offset, long Length)> ExtentsAfter(RecoveryPoint point, Epoch before)
    {
        lock (_gate) return Touched(_history.From(point.Epoch, point.Sequence, before), point.Sequence);
    }

    /// <summary>
    /// Where a point may differ from the end of the line that the last stream before an epoch wrote: what both wrote since they parted. A replica may begin at a
    /// point that no stream has come to, such as the end of a replica before it.
    /// </summary>
    /// <exception cref="InvalidDataException">The point, or the position where they parted, is not viewable in this store, or what had arrived here is not all here any more.</exception>
    /// <exception cref="IOException">The log cannot be read.</exception>
    /// <param name="told">How far the source had been told is durable here.</param>
    public IReadOnlyList<(ushort Disk, long Offset, long Length)> ExtentsSinceParting(RecoveryPoint point, Epoch before, StreamPosition told)
    {
        lock (_gate)
        {
            if (_log.FailedReason is { } failed) throw new InvalidDataException(failed);
            // The source, which was told that it is durable, does not count it to what it alone has. What rotted away behind the newest mark looks like a torn tail.
            if (_log.HasLost || _history.HeldOfStream(before).CompareTo(told) < 0) throw new InvalidDataException("some of what had arrived is lost");
            return Touched(_history.FromParting(point.Epoch, point.Sequence, before), point.Sequence);
        }
    }

    private List<(ushort Disk, long Offset, long Length)> Touched((FramePosition From, FramePosition To, bool Reaches) frames, Sequence position)
    {
        var (touched, (from, to, reaches)) = (new TouchedRanges(), frames);
        foreach (var (at, entry, prefix) in _log.PrefixesOf(from, to))
            for (var e = reaches && at == from ? CountUpTo(entry.Header, position) : 0; e < entry.Header.ExtentCount; e++)
            {
                var extent = prefix.ExtentAt(e);
                touched.Add(extent.Disk, extent.Offset, extent.Length);
            }
        return touched.Merged();
    }

    /// <summary>How many extents of the frame that reaches a position belong to it.</summary>
    private static int CountUpTo(BatchHeader header, Sequence position) =>
        header is { Kind: BatchKind.Delta, Coalesced: false } ? (int)(position.Value - header.First.Value + 1) : header.ExtentCount;
}
