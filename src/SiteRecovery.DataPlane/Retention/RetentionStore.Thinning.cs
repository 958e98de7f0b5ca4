using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Thinning: beyond the window only some positions stay, and between them of every byte only its last write. STORE.md.</content>
public sealed partial class RetentionStore
{
    /// <summary>What one call reads at most, so that promotion and the scrub have their turn: with a call each ten seconds 25 MiB/s.</summary>
    private const long ThinnedAtOnceBytes = 256 << 20;
    private const int NothingToDoMax = 1 << 10;
    private readonly HashSet<(TimeSpan, SegmentId, SegmentId, DateTimeOffset, int)> _nothingToDo = [];
    private readonly HashSet<SegmentId> _unthinnable = []; // damaged
    private ThinningPlan? _thinning;
    private int _thinned; // how often a segment took the place of others

    /// <summary>The viewable positions on both sides of one that thinning has taken away; null: it was never here, is viewable, or older than all that is kept.</summary>
    public (RecoveryPoint Before, RecoveryPoint After)? ThinnedAround(Epoch epoch, Sequence sequence)
    {
        lock (_gate) return _history.Around(epoch, sequence) is ({ } before, { } after) ? (before, after) : null;
    }

    private void Thin(RetentionLimits limits, CancellationToken stop)
    {
        if (limits.Tiers is null) return;
        for (var left = ThinnedAtOnceBytes; left > 0 && !stop.IsCancellationRequested;)
        {
            // Some of it may have been promoted since the last call.
            if (_thinning is { } former && former.Done < former.Segments.Count && !_log.Has(former.Segments[former.Done])) _thinning = null;
            if ((_thinning ?? TryPlan(limits)) is not { } plan) return;
            _thinning = null;
            var done = plan.Done >= plan.Segments.Count;
            var read = done ? 0 : TryThin(plan, stop);
            if (read is null) return; // what hindered it may be gone at the next call
            left -= read.Value;
            // Its frames are counted as they were when it was made: whatever goes wrong, it is made anew.
            if (!done) _thinning = plan;
        }
    }

    private ThinningPlan? TryPlan(RetentionLimits limits)
    {
        try
        {
            // The finer first: what has to wait for the rest of a coarse slot is thinned to a finer one meanwhile.
            for (var tiers = 1; tiers <= limits.Tiers!.Items.Length; tiers++)
                if (NextPlan(limits with { Tiers = RetentionTiers.Of(limits.Tiers.Items.Take(tiers)) }) is { } plan) return plan;
            return null;
        }
        catch (IOException damage) when (damage.InnerException is InvalidDataException)
        {
            return null; // the next call leaves the damaged segment out
        }
    }

    private ThinningPlan? NextPlan(RetentionLimits limits)
    {
        List<ThinnableUnit> units;
        List<(Epoch Epoch, Sequence Sequence)> asked, protectedOnes;
        DateTimeOffset now;
        lock (_gate)
        {
            if (_promotion is not null || _log.FailedReason is not null || _notes.IsDamaged) return null;
            now = Today;
            units = _history.Thinnable(t => limits.SlotAt(t, now)?.Every ?? TimeSpan.Zero, StepOf);
            (asked, protectedOnes) = (Asked(), Protected());
        }
        foreach (var unit in units)
        {
            var own = Own(asked);
            var key = (unit.Step, _log.IdOf(unit.Segments[0]), _log.IdOf(unit.Segments[^1]), unit.Following, own.Order().Aggregate(own.Count, HashCode.Combine));
            if (_nothingToDo.Contains(key)) continue;
            var plan = new ThinningPlan(unit, HeadersOf, t => limits.SlotAt(t, now), own, Own(protectedOnes));
            if (plan.Segments.Count > 0) return plan;
            if (_nothingToDo.Count >= NothingToDoMax) _nothingToDo.Clear();
            _nothingToDo.Add(key);

            HashSet<long> Own(List<(Epoch Epoch, Sequence Sequence)> positions) =>
                [.. positions.Where(p => p.Epoch == unit.Epoch && unit.FirstSequence <= p.Sequence.Value && p.Sequence.Value <= unit.LastSequence).Select(p => p.Sequence.Value)];
        }
        return null;
    }

    private TimeSpan StepOf(int number) => _log.IdOf(number) is var segment && _unthinnable.Contains(segment) ? TimeSpan.MaxValue : _log.StepOf(segment);

    private List<(BatchHeader Header, byte[] Text)> HeadersOf(int number)
    {
        try
        {
            List<(BatchHeader, byte[])> headers = [.. _log.EntriesOf(number).Select(e => (e.Header, e.Header.Marker == MarkerKind.StreamStart ? TextOf(_log.ReadFrame(e.Segment, e.Offset)).ToArray() : []))];
            _unreadable.WasRead(number, UnreadablePlaces.Headers);
            return headers;
        }
        catch (IOException damage)
        {
            LeaveAsItIs(damage, number, UnreadablePlaces.Headers);
            throw;
        }
    }

    /// <summary>Whether a segment is thinned no more, because it is damaged; else it is tried again.</summary>
    /// <param name="what">Of it, as <see cref="UnreadablePlaces"/> has it.</param>
    private bool LeaveAsItIs(IOException damage, int number, long what)
    {
        if (!_unreadable.IsDamage(damage, number, what)) return false;
        _unthinnable.Add(_log.IdOf(number));
        return true;
    }

    private List<(Epoch, Sequence)> Protected() =>
        [.. _notes.All.Where(n => n.Protected).Select(n => RecoveryPoint.TryParseId(n.Point, out var epoch, out var sequence) ? (epoch, sequence) : default)];

    /// <summary>Positions that have to stay, whatever their age.</summary>
    private List<(Epoch Epoch, Sequence Sequence)> Asked() =>
        [.. Protected(), .. _history.Needed(), .. _views.Where(v => IsHeld(v.View)).Select(v => (v.Point.Epoch, v.Point.Sequence))];

    /// <summary>Puts one segment in the place of the next ones of a plan. How many bytes were read; null: it could not be done now.</summary>
    private long? TryThin(ThinningPlan plan, CancellationToken stop)
    {
        var (first, last, generation) = (plan.Segments[plan.Done], plan.Done, 0);
        HistoryState before;
        lock (_gate) before = _history.BeforeOf(first);
        int? end = null;
        using var draft = new SegmentDraft(_log, EndWithSignals, _files, BatchCodec.TagOf(Machine), plan.Unit.Epoch, first, _log.IdOf(first).First, before);
        var writer = new ThinningWriter(_log, plan, draft, (from, to) => new StoreView(_log, _bases, CoverOf(plan.Unit, from, to)));
        try
        {
            SegmentId segment;
            for (; ; last++)
            {
                segment = _log.IdOf(plan.Segments[last]);
                // Promotion goes up to a segment's end only where that is a position: it shall come soon behind each that was no good for it.
                if (before.ThinnedUntil is not null || _log.IsNearlyEnough(draft)) end ??= plan.EndBehind(segment.Number);
                if (!TryAdd(writer, segment, stop)) return null;
                (first, generation) = (Math.Min(first, segment.First), Math.Max(generation, segment.Generation));
                if (last + 1 == plan.Segments.Count || segment.Number == end || _log.IsEnough(draft)) break;
            }
            writer.EndPart();
            draft.Complete(new SegmentId(segment.Number, generation + 1, first), plan.Unit.Step);
            if (!TryPut(draft, plan, last)) return null;
            return Math.Max(1, writer.Read);
        }
        finally
        {
            if (!_log.Has(draft.Id)) draft.Discard();
        }
    }

    /// <summary>False: stopped, or the segment is damaged and stays as it is.</summary>
    private bool TryAdd(ThinningWriter writer, SegmentId segment, CancellationToken stop)
    {
        try
        {
            if (!writer.Add(segment, stop)) return false;
            _unreadable.WasRead(segment.Number, UnreadablePlaces.Frames);
            return true;
        }
        catch (IOException damage)
        {
            if (LeaveAsItIs(damage, segment.Number, UnreadablePlaces.Frames)) return false;
            throw;
        }
    }

    /// <summary>Where the bytes lie that a unit's frames from one up to another have written.</summary>
    private List<(int Segment, IExtentSource Source)> CoverOf(ThinnableUnit unit, FramePosition from, FramePosition to)
    {
        var sources = new List<(int, IExtentSource)>();
        foreach (var number in unit.Segments.Where(s => from.Segment <= s && s <= to.Segment))
        {
            var segment = _log.IdOf(number);
            var (first, end) = (number == from.Segment ? from.Index : 0, number == to.Segment ? to.Index : int.MaxValue);
            if (first == 0 && end == int.MaxValue) sources.Add((number, _maps.Of(segment)));
            else if (first < end) sources.Add((number, MapOf(_log.PrefixesOf(segment, first, end))));
        }
        return sources;
    }

    /// <summary>From here on the draft counts. False: somebody needs what it lacks.</summary>
    private bool TryPut(SegmentDraft draft, ThinningPlan plan, int last)
    {
        // Where what it shows a part of ends in a segment that is still to be written.
        (SegmentHistory, IReadOnlyList<RecoveryPoint>)? end = null;
        if (draft.State.ThinnedUntil is { } until && plan.Keeps.FirstOrDefault(k => k.At.Segment > draft.Id.Number && new StreamPosition(k.Header.Incarnation, k.Header.Ordinal) == until) is { At.Segment: > 0 } keep)
            try
            {
                end = _history.Retold(keep.At.Segment, draft.State);
                _unreadable.WasRead(keep.At.Segment, UnreadablePlaces.End);
            }
            catch (IOException damage)
            {
                if (LeaveAsItIs(damage, keep.At.Segment, UnreadablePlaces.End)) return false;
                throw;
            }
        lock (_gate)
        {
            if (!Asked().TrueForAll(a => plan.Spares(a.Epoch, a.Sequence)) || !_views.TrueForAll(v => StandsStill(v, plan.Unit))) return false;
            if (_manifest.Thinned is null) Save(_manifest with { Thinned = true });
            _log.Commit(draft);
            (plan.Done, _thinned) = (last + 1, _thinned + 1);
            _history.Replace(draft.Id, draft.History, draft.State, draft.Points, end);
            ShowThinned(draft.Id);
        }
        _maps.Forget(draft.Id.Supersedes);
        _log.RemoveSuperseded(draft.Id);
        return true;
    }

    /// <summary>Not so if what a view shows has got another state under the same name.</summary>
    private bool StandsStill((int Segment, RecoveryPoint Point, WeakReference<StoreView> View) held, ThinnableUnit unit) =>
        !IsHeld(held.View) || held.Segment < unit.Segments[0] || held.Segment > unit.Segments[^1]
        || _history.SegmentOf(held.Point.Epoch, held.Point.Sequence) == held.Segment;

    /// <summary>Who reads from what it stands for goes on with it.</summary>
    private void ShowThinned(SegmentId thinned)
    {
        var source = _maps.Of(thinned);
        for (var i = 0; i < _views.Count; i++)
        {
            var (segment, point, reference) = _views[i];
            if (!reference.TryGetTarget(out var view) || view.IsReleased) continue;
            if (!view.TryPut(thinned, source)) view.Adopt(new StoreView(_log, _bases, SourcesOf(_history.RangesOf(point.Epoch, point.Sequence))));
            if (thinned.First <= segment && segment <= thinned.Number) _views[i] = (thinned.Number, point, reference);
        }
        if (_newest is null || _newest.TryPut(thinned, source)) return;
        _newest.Adopt(NewestView());
        (_newest, _tail) = (null, null);
    }
}
