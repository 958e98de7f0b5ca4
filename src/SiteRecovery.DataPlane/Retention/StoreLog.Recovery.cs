using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Takes what a log holds, in its order, while it is opened.</summary>
internal interface IReplay
{
    void Frame(LogEntry entry, Batch prefix);

    /// <summary>All frames of a sealed segment.</summary>
    void Segment(SegmentEnd end);
}

/// <content>Opening: sealed segments by what their ends say, the last one frame by frame.</content>
internal sealed partial class StoreLog
{
    /// <param name="first">What is before it is in the base.</param>
    internal void Recover(IReplay replay, int first)
    {
        var last = LastSegment();
        if (!readOnly)
        {
            // A process before was perhaps killed when it had just made a file.
            files.FlushFolder(folder);
            files.FlushFolder(Path.Combine(folder, "log"));
            files.FlushFolder(Path.Combine(folder, "base"));
            Remove(first - 1);
        }
        if (last < first)
        {
            (_segment, _lastIsSealed) = (first - 1, true);
            return;
        }
        for (var segment = first; segment < last; segment++) ReplaySealed(segment, replay);
        RecoverTail(last, replay);
    }

    /// <summary>Deletes all segments up to one, which no view needs any more.</summary>
    internal void Remove(int upTo)
    {
        foreach (var file in files.List(Path.Combine(folder, "log")))
            if (int.TryParse(Path.GetFileName(file).Split('.')[0], out var segment) && segment <= upTo) files.Delete(file);
        foreach (var segment in _open.Keys.Where(s => s <= upTo).ToArray())
            if (_open.TryRemove(segment, out var file)) file.Value.Dispose();
    }

    /// <summary>Sealed segments that are in the base count no more.</summary>
    internal void Uncount(int upTo)
    {
        lock (_lengths)
            foreach (var segment in _lengths.Keys.Where(s => s <= upTo).ToArray())
                if (_lengths.Remove(segment, out var bytes)) _sealedBytes -= bytes;
    }

    private SegmentEnd? EndOf(int segment) => SegmentEnd.TryRead(files.TryReadAll(EndPath(segment)), tag, segment);

    private void Restore(SegmentEnd end, IReplay replay)
    {
        Count(end.Segment, end.Bytes);
        replay.Segment(end);
    }

    private void ReplaySealed(int segment, IReplay replay)
    {
        if (!files.Exists(SegmentFile.PathOf(folder, segment)))
        {
            NoteDamage(segment, 0, "the segment is missing");
            return;
        }
        if (_damage.Count > 0) return; // what follows damage has no known base
        if (EndOf(segment) is { } known)
        {
            Restore(known, replay);
            return;
        }
        Count(segment, FileOf(segment).LengthBytes);
        if (SegmentIndex.TryRead(files.TryReadAll(IndexPath(segment)), tag, segment) is not { } frames)
        {
            (frames, var end, var reason) = ScanSealed(segment);
            if (reason is not null) NoteDamage(segment, end, reason);
        }
        foreach (var (offset, prefix) in frames) replay.Frame(new LogEntry(segment, offset, prefix.Header), prefix);
        // Of a store of before there were ends.
        if (_damage.Count == 0 && !readOnly && Sealing(segment, FileOf(segment).LengthBytes) is { } found) files.Replace(EndPath(segment), found.ToBytes());
    }

    /// <summary>The frames up to the first that is damaged, if there is one.</summary>
    private (List<(long Offset, Batch Prefix)> Frames, long End, string? Reason) ScanSealed(int segment)
    {
        var (frames, index) = (new List<(long, Batch)>(), new SegmentIndex(tag, segment));
        var (end, reason) = SegmentFile.Scan(FileOf(segment), tag, segment, (offset, batch) => Collect(frames, index, offset, batch));
        if (reason is null && !readOnly) files.Replace(IndexPath(segment), index.ToBytes());
        return (frames, end, reason);
    }

    private static void Collect(List<(long, Batch)> frames, SegmentIndex index, long offset, Batch batch)
    {
        index.Add(offset, batch);
        var prefix = BatchCodec.HeaderBytes + batch.Header.ExtentCount * BatchCodec.ExtentBytes;
        frames.Add((offset, new Batch(batch.Header, batch.Frame[..prefix].ToArray())));
    }

    private void RecoverTail(int segment, IReplay replay)
    {
        (_segment, _index) = (segment, new SegmentIndex(tag, segment));
        if (_damage.Count > 0) return;
        // One that has grown since was not sealed for good: its end had been lost, and came back with a folder that was not flushed.
        if (EndOf(segment) is { } sealedEnd && FileOf(segment).LengthBytes == sealedEnd.Bytes)
        {
            Restore(sealedEnd, replay);
            _lastIsSealed = true;
            return;
        }
        var file = FileOf(segment);
        var (end, reason) = SegmentFile.Scan(file, tag, segment, (offset, batch) =>
        {
            _index.Add(offset, batch);
            (_frames, _extents) = (_frames + 1, _extents + batch.Header.ExtentCount);
            replay.Frame(new LogEntry(segment, offset, batch.Header), batch);
        });
        _end = end;
        if (reason is not null && end < SyncedEnd(segment))
        {
            NoteDamage(segment, end, reason);
            return;
        }
        CutBytes = file.LengthBytes - end;
        if (readOnly) return;
        foreach (var stale in (string[])[EndPath(segment), IndexPath(segment), Path.ChangeExtension(IndexPath(segment), ".map")])
            if (files.Exists(stale)) files.Delete(stale);
        _tail = files.Open(SegmentFile.PathOf(folder, segment), FileOpening.ReadWrite);
        if (end == 0)
        {
            _tail.Write(0, SegmentFile.Header(tag, segment));
            _end = SegmentFile.HeaderBytes;
        }
        _tail.SetLength(_end);
        WriteAgain(_tail, SyncedEnd(segment), _end);
        _tail.Flush();
        WriteMark(_end);
    }

    /// <summary>What no flush has confirmed: after one that failed such bytes may be in the cache alone, and would not be flushed any more.</summary>
    private static void WriteAgain(IBlockFile file, long from, long to)
    {
        for (var buffer = new byte[(int)Math.Clamp(to - from, 0, 1 << 20)]; from < to;)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, to - from));
            file.Read(from, part);
            file.Write(from, part);
            from += part.Length;
        }
    }
}
