using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Signals: how what was written before each point looked. They lie in the ends of segments; of the last one they are measured again.</content>
public sealed partial class RetentionStore
{
    private readonly SignalMeter _meter = new();
    /// <summary>By all that a mark says: while nobody writes, each one has the position, and so the id, of the one before it.</summary>
    private readonly Dictionary<RecoveryPoint, PointSignals> _signals = [];

    /// <summary>Null: nothing is known of it.</summary>
    public PointSignals? SignalsOf(RecoveryPoint point)
    {
        lock (_gate) return _signals.GetValueOrDefault(point);
    }

    /// <summary>Points at which what was written looks encrypted all at once (<see cref="PointSignals.Jumps"/>).</summary>
    public IReadOnlySet<RecoveryPoint> Jumps()
    {
        (RecoveryPoint, PointSignals?)[] known;
        lock (_gate) known = [.. _history.Points.Select(p => (p, _signals.GetValueOrDefault(p)))];
        return PointSignals.Jumps(known);
    }

    /// <summary>A frame whose point, if it marks one, is the newest of so many more than before it. What an end has told of a point stays: its frames are not all read as they came.</summary>
    private void Measure(Batch batch, int pointsBefore)
    {
        _meter.Add(batch);
        if (_history.PointCount > pointsBefore && _history.LastPoint is { } point) _signals.TryAdd(point, _meter.Take(point.At));
    }

    /// <summary>A frame of the last segment as it came, where it does not tell its entropy otherwise. Of a segment whose end is lost nothing is read once more: what is not known of it stays so.</summary>
    private Batch Readable(LogEntry entry, Batch found)
    {
        if (found.Header is not { Encrypted: true, Compression: PayloadCompression.None } || found.Frame.Length < found.Header.FrameBytes) return found;
        try
        {
            return _log.ReadFrame(entry.Segment, entry.Offset);
        }
        catch (Exception unread) when (unread is IOException or StoreLockedException)
        {
            return found;
        }
    }

    private void Restore(SegmentEnd end)
    {
        foreach (var point in end.Points)
            if (point.Signals is { } signals) _signals[point.ToPoint()] = signals;
        if (end.Points.Count > 0) _meter.Take(end.Points[^1].At);
        if (end.Unmarked is { } unmarked) _meter.Restore(unmarked);
    }

    private SegmentEnd WithSignals(SegmentEnd end) => end with { Points = [.. end.Points.Select(p => p with { Signals = _signals.GetValueOrDefault(p.ToPoint()) })] };

    private SegmentEnd EndWithSignals(SegmentEnd end)
    {
        lock (_gate) return WithSignals(end);
    }

    /// <summary>Of points that are gone nothing is kept.</summary>
    private void ForgetSignals()
    {
        lock (_gate)
        {
            if (_signals.Count <= _history.PointCount) return;
            var there = _history.Points.ToHashSet();
            foreach (var point in _signals.Keys.Where(p => !there.Contains(p)).ToArray()) _signals.Remove(point);
        }
    }
}
