using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Writes what a plan leaves of segments into a draft: frames that stay as they are, and in front of them what nothing up to them hides.</summary>
/// <param name="coverOf">Where the bytes lie that frames from one up to another have written; those of all segments in between.</param>
internal sealed class ThinningWriter(StoreLog log, ThinningPlan plan, SegmentDraft draft, Func<FramePosition, FramePosition, StoreView> coverOf)
{
    // Of a frame: views read and decompress it as a whole.
    private const int PayloadBytesMax = 512 << 10, ExtentsMax = 512;
    private readonly byte[] _raw = new byte[BatchCodec.PayloadBytesMax];
    private readonly byte[] _payload = new byte[PayloadBytesMax];
    private readonly List<Extent> _extents = new(ExtentsMax);
    private (ThinningPlan.Keep End, StoreView Cover)? _part;
    private PayloadCompression _compression;
    private int _payloadBytes;
    private bool _dropped, _told;

    /// <summary>How many bytes were read.</summary>
    internal long Read { get; private set; }

    /// <summary>All frames of the segment that follows. False: stopped.</summary>
    /// <exception cref="IOException">A frame that is needed is damaged: the segment has to stay as it is.</exception>
    internal bool Add(SegmentId segment, CancellationToken stop)
    {
        var index = 0;
        foreach (var (offset, prefix) in log.FramesOf(segment))
        {
            if (stop.IsCancellationRequested) return false;
            var at = new FramePosition(segment.Number, index++);
            Read += prefix.Header.FrameBytes;
            if (plan.EndOf(at) is not { } end || end.At == at)
            {
                EndPart();
                Copy(segment, offset);
                continue;
            }
            if (_part is { } other && other.End.At != end.At) EndPart();
            _part ??= (end, coverOf(at, end.At));
            _dropped |= !prefix.Header.IsTick;
            if (prefix.Header.ExtentCount > 0) AddLive(new LogEntry(segment, offset, prefix.Header), prefix);
        }
        return true;
    }

    /// <summary>What is not written yet.</summary>
    internal void EndPart()
    {
        if (_part is null) return;
        Ship();
        // That positions are gone has to be told also where nothing is left of them.
        if (!_told && (_dropped || draft.State.ThinnedUntil is not null)) Append([], []);
        (_part, _dropped, _told) = (null, false, false);
    }

    private void Copy(SegmentId segment, long offset)
    {
        var batch = log.ReadFrame(segment, offset);
        draft.Append(batch);
        FramePool.Shared.Return(batch.Frame);
    }

    private void AddLive(LogEntry entry, Batch prefix)
    {
        var (view, loaded, rawAt) = (_part!.Value.Cover, false, 0);
        for (var i = 0; i < entry.Header.ExtentCount; i++)
        {
            var extent = prefix.ExtentAt(i);
            var rawEnd = extent.Kind == ExtentKind.Data ? rawAt + extent.Length : rawAt;
            foreach (var part in view.Cover(extent.Disk, extent.Offset, extent.Length))
            {
                // What a later extent of the same frame hides is taken with that one.
                if (part.Segment != entry.Segment || part.FrameOffset != entry.Offset) continue;
                if (extent.Kind == ExtentKind.Data ? part.RawOffset < rawAt || part.RawOffset >= rawEnd : part.RawOffset >= 0) continue;
                if (part.RawOffset >= 0 && !loaded)
                {
                    Load(entry);
                    loaded = true;
                }
                Add(extent.Disk, part);
            }
            rawAt = rawEnd;
        }
    }

    private void Load(LogEntry entry)
    {
        var frame = log.ReadFrame(entry.Segment, entry.Offset);
        try
        {
            BatchCodec.Decompress(frame, _raw);
        }
        catch (InvalidDataException damage)
        {
            throw new IOException($"segment {entry.Segment.Number} is damaged at offset {entry.Offset}: {damage.Message}", damage);
        }
        if (frame.Header.Compression != PayloadCompression.None) _compression = frame.Header.Compression;
        FramePool.Shared.Return(frame.Frame);
    }

    private void Add(ushort disk, MappedExtent part)
    {
        if (part.RawOffset < 0)
        {
            if (_extents.Count == ExtentsMax) Ship();
            _extents.Add(new Extent(part.Offset, part.Length, disk, ExtentKind.Zero));
            return;
        }
        for (var done = 0; done < part.Length;)
        {
            if (_extents.Count == ExtentsMax || _payloadBytes == PayloadBytesMax) Ship();
            var piece = Math.Min(part.Length - done, PayloadBytesMax - _payloadBytes);
            _raw.AsSpan(part.RawOffset + done, piece).CopyTo(_payload.AsSpan(_payloadBytes));
            _extents.Add(new Extent(part.Offset + done, piece, disk, ExtentKind.Data));
            (_payloadBytes, done) = (_payloadBytes + piece, done + piece);
        }
    }

    private void Ship()
    {
        if (_extents.Count == 0) return;
        Append(_extents.ToArray(), _payload.AsSpan(0, _payloadBytes));
        _extents.Clear();
        _payloadBytes = 0;
    }

    /// <summary>It bears the place in the stream of the frame that it is a part of.</summary>
    private void Append(ReadOnlySpan<Extent> extents, ReadOnlySpan<byte> payload)
    {
        var end = _part!.Value.End.Header;
        var header = end with { Kind = BatchKind.Delta, Marker = MarkerKind.None, Coalesced = true, Absorbed = false, Thinned = true, First = end.Last };
        var batch = BatchCodec.Encode(header, extents, payload);
        var stored = BatchCodec.Compress(batch, _compression);
        draft.Append(stored);
        _told = true;
        if (stored != batch) FramePool.Shared.Return(stored.Frame);
        FramePool.Shared.Return(batch.Frame);
    }
}
