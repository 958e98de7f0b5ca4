using System.Runtime.ExceptionServices;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Promotion: the oldest segments go into the base, and their positions are gone.</content>
public sealed partial class RetentionStore
{
    private const int SegmentsAtOnce = 4, PieceBytes = 1 << 20, SegmentsPerWindow = 16;
    private static readonly TimeSpan SegmentAgeLeast = TimeSpan.FromSeconds(10);
    private static readonly byte[] Zeroes = new byte[PieceBytes];
    private readonly List<(int Segment, RecoveryPoint Point, WeakReference<StoreView> View)> _views = [];
    private readonly Lock _maintaining = new(); // taken before _flushing and _gate
    private readonly CancellationTokenSource _ended = new();
    // Of the current line, while they are on their way into the base.
    private List<(int Segment, IExtentSource Source)> _below = [];
    private (PromotedRecord To, List<FrameRange> Frames)? _promotion;
    private readonly UnreadablePlaces _unreadable;
    private bool _isUnsure; // under _gate: the manifest could not be saved, and may be on the disk all the same

    /// <summary>
    /// Makes maps of the segments that have none yet, thins, and promotes what lies outside of the limits. Appending and looking go on meanwhile. Whatever ends it, the next call goes on.
    /// </summary>
    /// <param name="limits">Null: everything is kept.</param>
    /// <exception cref="IOException">The disk is full, say: nothing is lost, and the next call tries again.</exception>
    /// <exception cref="StoreLockedException">It is encrypted, and its keys are not to be had.</exception>
    public void Maintain(RetentionLimits? limits, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _ended.Token);
        stop = either.Token;
        lock (_maintaining)
        {
            ExceptionDispatchInfo? renewal = null;
            try
            {
                RenewKeys();
            }
            catch (Exception failure) when (failure is StoreLockedException or IOException && _keys.CanEncrypt)
            {
                renewal = ExceptionDispatchInfo.Capture(failure); // what comes is encrypted with the old one, and room is made all the same
            }
            MaintainLog(limits, stop);
            renewal?.Throw();
        }
    }

    private void MaintainLog(RetentionLimits? limits, CancellationToken stop)
    {
        ForgetSignals();
        // It says what is on its way into the base: nothing is moved while it may say something else than we know.
        lock (_gate)
            if (_isUnsure) Save(_manifest);
        if (limits is not null) EndOldSegment(limits.Window);
        MakeMaps(stop);
        if (_promotion is not null && (_log.FailedReason is not null || !TryFinish(stop))) return;
        IOException? unthinned = null;
        try
        {
            if (limits is not null) Thin(limits, stop);
        }
        catch (IOException failure)
        {
            unthinned = failure; // what is to go altogether goes
        }
        while (!stop.IsCancellationRequested && TryBeginPromotion(limits, stop) && TryCopy(stop)) EndPromotion();
        if (unthinned is not null) throw unthinned;
    }

    /// <summary>Ages count back from it: from the newest position, but not from one whose source's clock is ahead of ours, or nothing would be left.</summary>
    private DateTimeOffset Today => _time.GetUtcNow() is var here && here < CurrentAsOf ? here : CurrentAsOf;

    /// <summary>A promotion that was cut short.</summary>
    private bool TryFinish(CancellationToken stop)
    {
        if (!TryCopy(stop)) return false;
        EndPromotion();
        return true;
    }

    /// <summary>Segments go as a whole: that of a machine which writes little must not hold its window open.</summary>
    private void EndOldSegment(TimeSpan window)
    {
        var age = window / SegmentsPerWindow > SegmentAgeLeast ? window / SegmentsPerWindow : SegmentAgeLeast;
        lock (_gate)
            if (_log.FailedReason is null && _history.OldestInLast is { } oldest && (CurrentAsOf - oldest).Duration() > age) _log.Seal();
    }

    private bool TryBeginPromotion(RetentionLimits? limits, CancellationToken stop)
    {
        int segment;
        List<FrameRange> frames;
        StoreView covering;
        lock (_gate)
        {
            if (_promotion is not null) return true;
            if (limits is null || _unviewable is not null || Promotable(limits) is not { } last) return false;
            (segment, frames) = (last, _history.LineUpTo(last));
            covering = new StoreView(_log, _bases, SourcesOf(frames));
        }
        if (RestsOf(frames, covering, stop) is not { } rests) return false;
        var partial = PartialBlocks.Of(segment, rests);
        partial.Save(Folder, BatchCodec.TagOf(Machine), _files);
        lock (_gate)
        {
            // Somebody may need one of its positions by now.
            if (Promotable(limits) != segment) return false;
            // Before the first byte of the base changes: no position below shows any more what it showed.
            Save(_manifest with { Promoting = segment });
            Plan(segment, partial);
            return true;
        }
    }

    /// <summary>Under the lock: the last of the segments that may go.</summary>
    private int? Promotable(RetentionLimits limits)
    {
        if (_log.FailedReason is not null) return null;
        var inUse = _views.Where(v => IsHeld(v.View)).Select(v => v.Segment).Append(FirstProtected()).Min();
        // A window longer than time itself keeps everything.
        var cutoff = limits.Longest < Today - DateTimeOffset.MinValue ? Today - limits.Longest : DateTimeOffset.MinValue;
        return _history.PromotableUpTo(CurrentAsOf, cutoff, limits.BytesMax is { } most ? _log.Bytes - most : 0, inUse, SegmentsAtOnce, number => _log.BytesOf(_log.IdOf(number)));
    }

    /// <summary>Of the blocks of the base that frames cover in part. Nothing is on its way there. Null: stopped.</summary>
    private Dictionary<(ushort Disk, long Block), ulong>? RestsOf(List<FrameRange> frames, StoreView covering, CancellationToken stop)
    {
        var (rests, block) = (new Dictionary<(ushort, long), ulong>(), new byte[PromotedImage.BlockBytes]);
        IOException? unread = null;
        foreach (var range in frames)
            foreach (var (_, entry, prefix) in _log.PrefixesOf(range.From, range.To))
            {
                if (stop.IsCancellationRequested) return null;
                for (var i = 0; i < entry.Header.ExtentCount; i++)
                {
                    var extent = prefix.ExtentAt(i);
                    Look(extent.Disk, extent.Offset);
                    Look(extent.Disk, extent.Offset + extent.Length);
                }
            }
        // All of them have been waited for by then.
        return unread is null ? rests : throw unread;

        void Look(ushort disk, long edge)
        {
            var number = edge / block.Length;
            var offset = number * block.Length;
            if (edge == offset || rests.ContainsKey((disk, number)) || offset >= _manifest.Disks.First(d => d.Index == disk).SizeBytes) return;
            var cover = covering.CoverOfBlock(disk, offset);
            if (cover.TrueForAll(e => e.Segment.Number != StoreView.BelowTheLog)) return;
            _bases.Open(disk);
            try
            {
                if (!_bases.IsInPlace(disk, number)) return;
                _bases.Read(disk, offset, block);
                rests[(disk, number)] = PartialBlocks.RestOf(block, offset, cover);
                _unreadable.WasRead(UnreadablePlaces.OfDisk(disk), offset);
            }
            catch (IOException failure)
            {
                if (_unreadable.IsDamage(failure, UnreadablePlaces.OfDisk(disk), offset)) rests[(disk, number)] = PartialBlocks.Damaged;
                else unread ??= failure;
            }
        }
    }

    private void Plan(int segment, PartialBlocks? partial)
    {
        var (to, frames) = (_history.PromotedAt(segment), _history.LineUpTo(segment));
        _below = SourcesOf(frames);
        _bases.Promotion = new BasePromotion(segment, new StoreView(_log, _bases, _below), partial, _unreadable);
        _promotion = (to, frames);
        _history.Forget(to);
        (_newest, _tail) = (null, null);
    }

    private bool TryCopy(CancellationToken stop)
    {
        var whole = false;
        try
        {
            whole = Copy(stop) && FlushBase();
            return whole;
        }
        finally
        {
            // What it has written may be torn until it has been written again.
            if (!whole) _bases.Restart();
        }
    }

    private bool FlushBase()
    {
        NotReadableYetException? unread = null;
        foreach (var disk in _manifest.Disks)
            try
            {
                _bases.ToWrite(disk.Index).Look();
            }
            catch (NotReadableYetException failure)
            {
                unread ??= failure;
            }
        if (unread is not null) throw unread;
        foreach (var disk in _manifest.Disks) _bases.ToWrite(disk.Index).Flush();
        return true;
    }

    /// <summary>Each frame is read once, and only what nothing of the promoted hides is written. False: stopped.</summary>
    /// <exception cref="NotReadableYetException">Something cannot be read just now. All the rest was looked at, so that nothing has to be waited for behind it.</exception>
    private bool Copy(CancellationToken stop)
    {
        var (view, raw) = (new StoreView(_log, _bases, _below), new byte[BatchCodec.PayloadBytesMax]);
        NotReadableYetException? unread = null;
        foreach (var range in _promotion!.Value.Frames)
            foreach (var (_, entry, prefix) in _log.PrefixesOf(range.From, range.To))
            {
                if (stop.IsCancellationRequested) return false;
                List<(ushort Disk, MappedExtent Extent)> live = [];
                for (var i = 0; i < entry.Header.ExtentCount; i++)
                {
                    var extent = prefix.ExtentAt(i);
                    foreach (var part in view.Cover(extent.Disk, extent.Offset, extent.Length))
                        if (part.Segment == entry.Segment && part.FrameOffset == entry.Offset) live.Add((extent.Disk, part));
                }
                if (live.Count == 0) continue;
                try
                {
                    Copy(entry, live, raw, stop);
                }
                catch (NotReadableYetException failure)
                {
                    unread ??= failure;
                }
            }
        return unread is null ? !stop.IsCancellationRequested : throw unread;
    }

    private void Copy(LogEntry entry, List<(ushort Disk, MappedExtent Extent)> live, byte[] raw, CancellationToken stop)
    {
        var isWhole = TryReadRaw(entry, raw);
        NotReadableYetException? unread = null;
        foreach (var (disk, part) in live)
            try
            {
                // Damage shows as it does in the segment; that the history goes on behind it must not depend on it.
                if (isWhole) Write(_bases.ToWrite(disk), part, raw, stop);
                else _bases.ToWrite(disk).Lose(part.Offset, part.Length);
            }
            catch (NotReadableYetException failure)
            {
                unread ??= failure;
            }
        if (unread is not null) throw unread;
    }

    /// <summary>False: the frame is damaged, or could not be read for long.</summary>
    /// <exception cref="NotReadableYetException"/>
    private bool TryReadRaw(LogEntry entry, byte[] raw)
    {
        // A file that cannot be opened says nothing of what is in it.
        _log.Open(entry.Segment);
        try
        {
            var frame = _log.ReadFrame(entry.Segment, entry.Offset);
            BatchCodec.Decompress(frame, raw);
            FramePool.Shared.Return(frame.Frame);
            _unreadable.WasRead(entry.Segment.Number, entry.Offset);
            return true;
        }
        catch (InvalidDataException)
        {
            return false;
        }
        catch (IOException failure)
        {
            if (_unreadable.IsDamage(failure, entry.Segment.Number, entry.Offset)) return false;
            throw new NotReadableYetException(failure);
        }
    }

    /// <summary>A frame may zero the whole of a disk: whoever stops does not wait for that.</summary>
    private static void Write(IBaseImage image, MappedExtent part, byte[] raw, CancellationToken stop)
    {
        if (part.RawOffset >= 0) image.Write(part.Offset, raw.AsSpan(part.RawOffset, part.Length));
        else
            for (long at = 0; at < part.Length && !stop.IsCancellationRequested; at += PieceBytes) image.Write(part.Offset + at, Zeroes.AsSpan(0, (int)Math.Min(PieceBytes, part.Length - at)));
    }

    private void EndPromotion()
    {
        lock (_gate)
        {
            var to = _promotion!.Value.To with { Encrypted = _bases.WritesEncrypted ? true : null };
            Save(_manifest with { Promoted = to, Promoting = null });
            (_bases.IsPromoted, _bases.IsEncrypted, _bases.Promotion) = (true, to.Encrypted == true, null);
            // Somebody may be asking it for hashes just now.
            _newest?.WithoutUpTo(to.Segment);
            (_promotion, _below, _newest, _tail) = (null, [], null, null);
            foreach (var (_, _, reference) in _views)
                if (reference.TryGetTarget(out var view)) view.WithoutUpTo(to.Segment);
            _log.Uncount(to.Segment);
        }
        _unreadable.Forget();
        _maps.Forget(s => s.Number <= _manifest.Promoted!.Segment);
        _log.Remove(_manifest.Promoted!.Segment);
        // Nobody asks for it any more.
        _files.Delete(Path.Combine(Folder, PartialBlocks.FileName));
    }

    private static bool IsHeld(WeakReference<StoreView> reference) => reference.TryGetTarget(out var view) && !view.IsReleased;

    private void Save(StoreManifest changed)
    {
        changed = changed.Versioned();
        _isUnsure = true;
        _files.Replace(Path.Combine(Folder, StoreManifest.FileName), changed.ToBytes());
        (_manifest, _isUnsure) = (changed, false);
    }

    /// <summary>What a view stands on is not promoted while somebody holds it.</summary>
    private StoreView InUse(StoreView view, List<FrameRange> ranges, RecoveryPoint point)
    {
        var at = LastOf(ranges);
        _views.RemoveAll(v => !IsHeld(v.View));
        _views.Add((at, point, new WeakReference<StoreView>(view)));
        return view;
    }

    /// <summary>The last segment that a view stands on.</summary>
    private int LastOf(List<FrameRange> ranges) => ranges.Count == 0 || ranges[^1].To.Index == 0 ? (_promotion?.To ?? _manifest.Promoted)?.Segment ?? 0 : ranges[^1].To.Segment;

    /// <summary>
    /// Of a store that is only read, for somebody else may write to it: why the base is not what a view up to a segment stands on, or why what it stands on could not be read. `promoting` is durable before the first byte changes, so whoever has read and asks then knows.
    /// </summary>
    private string? WhyGone(int last, bool failed)
    {
        if (_files.TryReadAll(Path.Combine(Folder, StoreManifest.FileName)) is not { } bytes || bytes.AsSpan().SequenceEqual(_manifestBytes)) return null;
        StoreManifest now;
        try
        {
            now = StoreManifest.Parse(bytes);
        }
        catch (InvalidDataException damage)
        {
            return damage.Message;
        }
        var reached = Math.Max(now.Promoting ?? 0, now.Promoted?.Segment ?? 0);
        if (reached <= Math.Max(_manifest.Promoting ?? 0, _manifest.Promoted?.Segment ?? 0)) return null;
        if (last <= reached) return "the position has gone beyond the retention meanwhile: open the store again, and take one that is left";
        return failed ? "the base has been written meanwhile: open the store again" : null;
    }
}
