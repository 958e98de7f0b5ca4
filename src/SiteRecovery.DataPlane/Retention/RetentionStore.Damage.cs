using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>What rot means: for the newest state, which the source can mend, and for each point.</content>
public sealed partial class RetentionStore
{
    private const string ByScrub = "found by the scrub: ";
    private const int LookedAtOnceBytes = 64 << 10;
    // Ids of points of which the round that is under way reads every byte.
    private HashSet<string> _scrubbedBelow = [];
    private bool _rotIsNoted = true;

    /// <summary>What had been acknowledged was cut off as damaged, and no source has been told.</summary>
    public bool HasLost => _log.HasLost;

    /// <summary>It has failed, perhaps for what could not be read, which it may be again.</summary>
    public bool HasGivenUp => _log.HasGivenUp;

    /// <summary>A source was told of an epoch before this one that more of its stream is durable here than there is.</summary>
    public bool Lacks(StreamPosition told)
    {
        lock (_gate) return _history.Lacks(told);
    }

    /// <summary>A source that was told has it on record.</summary>
    internal void LossIsKnown()
    {
        lock (_gate) _log.LossIsKnown();
    }

    /// <summary>Where the newest consistent position cannot be read, in blocks of 64 KiB, ascending; empty: nowhere that is known.</summary>
    public IReadOnlyList<(ushort Disk, long Offset, long Length)> DamageOfNewest()
    {
        RecoveryPoint? newest;
        lock (_gate) newest = _rot.Count == 0 ? null : _history.ConsistentUpTo;
        if (newest is null || DamageOf(newest, Rot).Ranges is not { Count: > 0 } ranges) return [];
        // What the newest view remembers of them would pass for right when the source compares, and never be sent again.
        lock (_gate) (_newest, _tail) = (null, null);
        return ranges;
    }

    /// <summary>Points that show what the scrub has found damaged are noted so, before the round has ended.</summary>
    private void NoteRot()
    {
        if (_rotIsNoted) return;
        _rotIsNoted = true;
        NotePoints(roundEnded: false);
    }

    /// <summary>What a whole round of the scrub means for each point that it has read all of.</summary>
    private void NotePoints(bool roundEnded = true)
    {
        var (rot, now, changed) = (Rot, _time.GetUtcNow(), new List<PointNote>());
        foreach (var point in Points.DistinctBy(p => p.Id)) // one position may be marked again and again
        {
            var (before, reason) = (NoteOf(point), rot.Count == 0 ? null : DamageOf(point, rot).Reason);
            var after = before;
            if (reason is not null) after = before with { Damage = ByScrub + reason };
            else if (roundEnded && _scrubbedBelow.Contains(point.Id) && before.Damage?.StartsWith(ByScrub, StringComparison.Ordinal) != false) after = before with { Damage = null, VerifiedAt = now };
            if (after != before) changed.Add(after);
        }
        if (changed.Count == 0) return;
        lock (_gate) _notes.Set(changed, IsThere);
    }

    /// <summary>Marked points that show nothing of the last segment, which no scrub reads.</summary>
    private HashSet<string> SealedPoints()
    {
        lock (_gate) return [.. _history.Points.Where(p => _history.SegmentOf(p.Epoch, p.Sequence) is { } segment && !_log.IsTail(segment)).Select(p => p.Id)];
    }

    /// <summary>Which of the places that may be damaged a point shows.</summary>
    private (List<(ushort Disk, long Offset, long Length)> Ranges, string? Reason) DamageOf(RecoveryPoint point, IReadOnlyList<StoreDamage> rot)
    {
        var (ranges, buffer, looked) = (new TouchedRanges(), new byte[LookedAtOnceBytes], new HashSet<(ushort, long)>());
        string? reason = null;
        StoreView view;
        try
        {
            view = At(point);
        }
        catch (Exception unreadable) when (unreadable is IOException or InvalidDataException)
        {
            return ([], unreadable.Message);
        }
        try
        {
            foreach (var (disk, offset, length) in rot.SelectMany(r => r.Ranges ?? []))
                for (var at = offset / LookedAtOnceBytes * LookedAtOnceBytes; at < offset + length; at += LookedAtOnceBytes)
                {
                    if (!looked.Add((disk, at))) continue;
                    var part = buffer.AsSpan(0, (int)Math.Clamp(Disks.First(d => d.Index == disk).SizeBytes - at, 0, LookedAtOnceBytes));
                    try
                    {
                        view.Read(disk, at, part);
                    }
                    catch (IOException damage)
                    {
                        reason ??= damage.Message;
                        ranges.Add(disk, at, part.Length);
                    }
                }
        }
        finally
        {
            view.Release();
        }
        return (ranges.Merged(), reason);
    }
}
