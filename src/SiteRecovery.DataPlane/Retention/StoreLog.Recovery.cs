using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>Takes what a log holds, in its order, while it is opened.</summary>
internal interface IReplay
{
    /// <param name="known">What a marker says if it cannot be read any more, and whether that is sure; null: nobody knows.</param>
    /// <exception cref="UnfoundedEpochException">An epoch that begins with it cannot be begun.</exception>
    void Frame(LogEntry entry, Batch prefix, ToldMarker known);

    /// <summary>All frames of a sealed segment. False: they mean something else by now, and have to be replayed.</summary>
    /// <exception cref="UnfoundedEpochException">An epoch that begins with it cannot be begun.</exception>
    bool Segment(SegmentEnd end);
}

internal delegate (byte[] Text, bool IsSure)? ToldMarker(IEnumerable<(Epoch Epoch, Sequence Sequence)> origins);

/// <summary>An epoch has frames, and nothing tells any more over what they lie.</summary>
internal sealed class UnfoundedEpochException(string reason) : IOException(reason, new InvalidDataException(reason));

/// <content>Opening: sealed segments by what their ends say, the last one frame by frame.</content>
internal sealed partial class StoreLog
{
    // The first until a source has been told, then the other; behind them from where it lay.
    private const string LostExtension = ".seg.lost-", AsideExtension = ".seg.damaged-";
    private const string CutOff = "what had been acknowledged was found damaged when the store was opened, and cut off; ";
    private const int AsideBytes = 4096;

    /// <param name="first">What is before it is in the base.</param>
    internal void Recover(IReplay replay, int first)
    {
        if (!readOnly)
        {
            // A process before was perhaps killed when it had just made a file.
            files.FlushFolder(folder);
            files.FlushFolder(Path.Combine(folder, "log"));
            files.FlushFolder(Path.Combine(folder, "base"));
            Sweep();
            Remove(first - 1);
        }
        var listed = Listed().Where(s => s.Number >= first).ToList();
        foreach (var segment in listed) _present[segment.Number] = segment;
        if (listed.Count == 0)
        {
            (_segment, _lastIsSealed) = (first - 1, true);
            return;
        }
        var next = first;
        foreach (var segment in listed)
        {
            if (segment.First > next) NoteDamage(SegmentId.Of(next), 0, "the segment is missing");
            next = segment.Number + 1;
            if (segment == listed[^1]) RecoverTail(segment, replay);
            else ReplaySealed(segment, replay);
        }
    }

    /// <summary>Deletes all segments up to one, which no view needs any more.</summary>
    internal void Remove(int upTo)
    {
        foreach (var file in files.List(LogFolder))
            if (SegmentFile.TryParse(file)?.Id.Number <= upTo) files.Delete(file);
        foreach (var number in _present.Keys.Where(s => s <= upTo)) _present.TryRemove(number, out _);
        Close(s => s.Number <= upTo);
    }

    /// <summary>Sealed segments that are in the base count no more.</summary>
    internal void Uncount(int upTo) => Uncount(0, upTo);

    private void Uncount(int first, int upTo)
    {
        lock (_lengths)
            foreach (var segment in _lengths.Keys.Where(s => first <= s && s <= upTo).ToArray())
                if (_lengths.Remove(segment, out var bytes)) _sealedBytes -= bytes;
    }

    private void Close(Func<SegmentId, bool> gone)
    {
        foreach (var segment in _open.Keys.Where(gone).ToArray())
            if (_open.TryRemove(segment, out var file) && file.IsValueCreated) file.Value.Dispose();
    }

    /// <summary>The segments that count, ascending.</summary>
    private IEnumerable<SegmentId> Listed() => Listed(All(files.List(LogFolder)));

    private static IEnumerable<SegmentId> Listed(List<SegmentId> all) => all.Where(s => !all.Exists(other => other.Supersedes(s))).OrderBy(s => s.Number);

    private static List<SegmentId> All(IEnumerable<string> paths) => [.. paths.Select(SegmentFile.TryParse).Where(f => f?.Extension == ".seg").Select(f => f!.Value.Id)];

    /// <summary>What thinning has left behind when it was cut short.</summary>
    private void Sweep()
    {
        var found = files.List(LogFolder);
        var all = All(found);
        var (counting, flushed) = (Listed(all).ToHashSet(), false);
        foreach (var file in found)
        {
            if (SegmentFile.TryParse(file) is not { } of) continue;
            // Of a segment as it was logged also what is left without it is left alone: it is missing, and that is damage.
            var superseded = all.Exists(other => other.Supersedes(of.Id));
            if (!superseded && (of.Id.Generation == 0 || counting.Contains(of.Id)) && of.Extension != ".seg.tmp") continue;
            // That what takes its place is there must not be lost after it.
            if (!flushed) files.FlushFolder(LogFolder);
            flushed = true;
            files.Delete(file);
        }
    }

    /// <summary>An end that is there and cannot be read is waited for: without it the segment is open again, though an epoch may have been begun behind it.</summary>
    private SegmentEnd? TailsEndOf(SegmentId segment) =>
        options.GivesUpUnreadable || readOnly ? EndOf(segment) : SegmentEnd.TryRead(files.TryReadAll(EndPath(segment)), tag, segment.Number);

    private SegmentEnd? EndOf(SegmentId segment) => SegmentEnd.TryRead(TryReadMade(EndPath(segment)), tag, segment.Number);

    private void ReplaySealed(SegmentId segment, IReplay replay)
    {
        if (_damage.Count > 0) return; // what follows damage has no known base
        var known = EndOf(segment);
        if (known is not null && TryReplay(known, segment, replay) is var restored and not false)
        {
            if (restored == true) Count(segment.Number, known.Bytes);
            return;
        }
        Count(segment.Number, FileOf(segment).LengthBytes);
        if (SegmentIndex.TryRead(TryReadMade(IndexPath(segment)), tag, segment.Number) is not { } frames)
        {
            (frames, var end, var reason) = ScanSealed(segment, options.GivesUpUnreadable);
            if (reason is not null) NoteDamage(segment, end, reason);
        }
        var guessed = false;
        for (var i = 0; i < frames.Count; i++)
        {
            var (at, (offset, prefix)) = (i, frames[i]);
            // Of a marker its text counts, which no index has; but the end has what became of it, also where it counts no more because of what lies in front.
            if (WhyUnread(() => replay.Frame(new LogEntry(segment, offset, prefix.Header), prefix, Told)) is not { } reason) continue;
            NoteDamage(segment, offset, reason);
            break;

            (byte[] Text, bool IsSure)? Told(IEnumerable<(Epoch, Sequence)> origins)
            {
                var told = known?.TextOf([.. frames.Select(f => f.Prefix.Header)], at, origins);
                guessed |= told is { IsSure: false };
                return told;
            }
        }
        // Of a store of before there were ends. A guess is made anew each time: more may be known by then, or the frame be readable.
        if (_damage.Count == 0 && !guessed && !readOnly && Sealing(segment.Number, FileOf(segment).LengthBytes) is { } found) TryKeep(EndPath(segment), found.ToBytes());
    }

    /// <summary>Null: an epoch that begins with the segment cannot be begun, which is damage.</summary>
    private bool? TryReplay(SegmentEnd end, SegmentId segment, IReplay replay)
    {
        try
        {
            return replay.Segment(end);
        }
        catch (UnfoundedEpochException unfounded)
        {
            NoteDamage(segment, 0, unfounded.Message);
            return null;
        }
    }

    /// <summary>The frames up to the first that is damaged, if there is one.</summary>
    /// <param name="givesUp">What cannot be read is damaged.</param>
    private (List<(long Offset, Batch Prefix)> Frames, long End, string? Reason) ScanSealed(SegmentId segment, bool givesUp = false)
    {
        var (frames, index) = (new List<(long, Batch)>(), new SegmentIndex(tag, segment.Number));
        var (end, reason) = SegmentFile.Scan(FileOf(segment), tag, segment, (offset, batch) => Collect(frames, index, offset, batch), givesUp);
        if (reason is null && !readOnly) TryKeep(IndexPath(segment), index.ToBytes());
        return (frames, end, reason);
    }

    /// <summary>What can be made again: where there is no room for it, it is, next time.</summary>
    private void TryKeep(string path, byte[] made)
    {
        try
        {
            files.Replace(path, made);
        }
        catch (IOException)
        {
            // It was there for speed.
        }
    }

    /// <summary>Null: the frame there was read. Else what is wrong with it, for good.</summary>
    private string? WhyUnread(Action read)
    {
        try
        {
            read();
            return null;
        }
        catch (IOException damaged) when (damaged.InnerException is InvalidDataException)
        {
            return damaged.InnerException.Message;
        }
        catch (IOException unreadable) when (options.GivesUpUnreadable)
        {
            return "it cannot be read: " + unreadable.Message;
        }
    }

    private static void Collect(List<(long, Batch)> frames, SegmentIndex index, long offset, Batch batch)
    {
        index.Add(offset, batch);
        var prefix = BatchCodec.HeaderBytes + batch.Header.ExtentCount * BatchCodec.ExtentBytes;
        frames.Add((offset, new Batch(batch.Header, batch.Frame[..prefix].ToArray())));
    }

    private void RecoverTail(SegmentId segment, IReplay replay)
    {
        (_segment, _index) = (segment.Number, new SegmentIndex(tag, segment.Number));
        if (_damage.Count > 0) return;
        // One that has grown since was not sealed for good: its end had been lost, and came back with a folder that was not flushed.
        var sealedAt = TailsEndOf(segment);
        if (sealedAt is { } sealedEnd && FileOf(segment).LengthBytes == sealedEnd.Bytes && TryReplay(sealedEnd, segment, replay) is var restored and not false)
        {
            if (restored is null) return;
            Count(segment.Number, sealedEnd.Bytes);
            _lastIsSealed = true;
            return;
        }
        var file = FileOf(segment);
        // Its header says nothing that its name does not.
        var headed = IsHeaded(file, segment);
        (long Offset, string Reason)? unfounded = null;
        var (end, reason) = headed || segment.Generation == 0 ? SegmentFile.ScanFrames(file, tag, segment, (offset, batch) =>
        {
            if (unfounded is not null) return;
            try
            {
                // Before it is counted: a marker is read once more for its text, and the segment ends in front of one that is not given then.
                replay.Frame(new LogEntry(segment, offset, batch.Header), batch, _ => null);
            }
            catch (UnfoundedEpochException why)
            {
                // The frame is whole, and nothing that is cut off.
                unfounded = (offset, why.Message);
                return;
            }
            _index.Add(offset, batch);
            (_frames, _extents) = (_frames + 1, _extents + batch.Header.ExtentCount);
        }, options.GivesUpUnreadable) : (0, "segment header is damaged");
        if (unfounded is var (at, epochs))
        {
            NoteDamage(segment, at, epochs);
            return;
        }
        _end = end;
        // A segment is flushed before its end is written.
        var flushed = Math.Max(SyncedEnd(segment.Number), sealedAt?.Bytes ?? 0);
        if (reason is not null && end < flushed && (readOnly || MayBeSealed(segment) || !TryPutAside(segment, file, end)))
        {
            NoteDamage(segment, end, reason);
            return;
        }
        CutBytes = Math.Max(0, file.LengthBytes - end);
        if (readOnly) return;
        string[] stale = [.. new[] { EndPath(segment), IndexPath(segment), PathOf(segment, ".map") }.Where(files.Exists)];
        foreach (var path in stale) files.Delete(path);
        // Back with the folder as it was, an end would look as if the segment had never grown: as if an epoch may have been begun behind it.
        if (stale.Length > 0) files.FlushFolder(LogFolder);
        _tail = files.Open(PathOf(segment), FileOpening.ReadWrite);
        if (!headed)
        {
            // Of a page that cannot be read no part can be written either.
            if (_frames == 0) _tail.SetLength(0);
            _tail.Write(0, SegmentFile.Header(tag, segment, TimeSpan.Zero));
            _end = Math.Max(_end, SegmentFile.HeaderBytesOf(segment));
        }
        _tail.SetLength(_end);
        WriteAgain(_tail, SyncedEnd(segment.Number), _end);
        _tail.Flush();
        WriteMark(_end);
    }

    /// <summary>Then an epoch may have been begun behind it, from a position in it. An end of before it grew is none.</summary>
    private bool MayBeSealed(SegmentId segment) => files.Exists(EndPath(segment)) && !(EndOf(segment)?.Bytes < SyncedEnd(segment.Number));

    private bool IsHeaded(IBlockFile file, SegmentId segment)
    {
        try
        {
            return SegmentFile.StepOf(file, tag, segment) is not null;
        }
        catch (IOException) when (options.GivesUpUnreadable)
        {
            return false;
        }
    }

    /// <summary>
    /// What had been flushed has rotted. The store goes on in front of it, as one that has lost power would, and the source, which hears where that is, makes it whole again; nothing that can still be
    /// read is thrown away. An epoch is never lost so: each begins in a segment of its own, and the manifest knows it.
    /// </summary>
    /// <returns>False: there is no room for it, and nothing was changed.</returns>
    private bool TryPutAside(SegmentId segment, IBlockFile file, long from)
    {
        var (path, reading) = (PathOf(segment, string.Create(CultureInfo.InvariantCulture, $"{LostExtension}{from}")), false);
        // It was, and the segment cut: the attempt before this one ended behind that.
        if (from >= file.LengthBytes && files.Exists(path)) return true;
        try
        {
            using (var aside = files.Open(path, FileOpening.Create))
            {
                aside.SetLength(0);
                var buffer = new byte[AsideBytes];
                for (var at = from; at < file.LengthBytes; at += buffer.Length)
                {
                    var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, file.LengthBytes - at));
                    reading = true;
                    ReadOrClear(file, at, part);
                    reading = false;
                    aside.Write(at - from, part);
                }
                aside.Flush();
            }
            files.FlushFolder(LogFolder);
        }
        catch (IOException) when (!reading)
        {
            return false;
        }
        return true;
    }

    private void ReadOrClear(IBlockFile file, long at, Span<byte> part)
    {
        try
        {
            file.Read(at, part);
        }
        catch (IOException) when (options.GivesUpUnreadable)
        {
            part.Clear();
        }
    }

    internal bool HasLost => files.List(LogFolder).Any(p => IsAside(p, LostExtension));

    internal void LossIsKnown()
    {
        foreach (var path in files.List(LogFolder).Where(p => IsAside(p, LostExtension))) files.Rename(path, path.Replace(LostExtension, AsideExtension, StringComparison.Ordinal));
        files.FlushFolder(LogFolder);
    }

    private static bool IsAside(string path, string extension) => SegmentFile.TryParse(path)?.Extension.StartsWith(extension, StringComparison.Ordinal) == true;

    /// <summary>What was cut off as damaged, and is kept as long as its segment is.</summary>
    internal IEnumerable<StoreDamage> Aside()
    {
        foreach (var path in files.List(LogFolder))
            if (IsAside(path, LostExtension)) yield return new StoreDamage(path, 0, CutOff + "the source has not been told yet, and makes the newest state whole when it connects. Leave the file where it is");
            else if (IsAside(path, AsideExtension)) yield return new StoreDamage(path, 0, CutOff + "the source was told, and makes the newest state whole. The file is what was there: look at it and delete it, else it goes with its segment");
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
