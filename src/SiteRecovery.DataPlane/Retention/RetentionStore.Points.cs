using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Points that somebody keeps, and proof of what they hold.</content>
public sealed partial class RetentionStore
{
    private const int VerifiedAtOnceBytes = 1 << 20;
    private readonly PointNotes _notes;

    public PointNote NoteOf(RecoveryPoint point)
    {
        lock (_gate) return _notes.Of(point.Id);
    }

    /// <summary>Keeps a point, with all that follows it, beyond the retention, until it is given up again. Durable when it returns.</summary>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    public PointNote Protect(RecoveryPoint point, bool keep)
    {
        lock (_gate)
        {
            if (_history.Resolve(point.Epoch, point.Sequence) is null) throw new InvalidDataException($"{point.Id} is not viewable in this store");
            var note = _notes.Of(point.Id) with { Protected = keep };
            _notes.Set(note, IsThere);
            return note;
        }
    }

    /// <summary>Reads every byte that a point shows, and checks it against the checksums of when it was written. What it finds is kept with the point.</summary>
    /// <remarks>What lies below the log in a file that the store was made over has no checksums: it is read.</remarks>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    public PointNote Verify(RecoveryPoint point, CancellationToken stop)
    {
        var view = At(point);
        string? damage = null;
        try
        {
            foreach (var disk in view.Disks) ReadAll(view, disk, stop);
        }
        catch (IOException found)
        {
            damage = found.Message;
        }
        finally
        {
            view.Release();
        }
        lock (_gate)
        {
            var note = _notes.Of(point.Id) with { VerifiedAt = _time.GetUtcNow(), Damage = damage };
            _notes.Set(note, IsThere);
            return note;
        }
    }

    private static void ReadAll(StoreView view, DiskRecord disk, CancellationToken stop)
    {
        var (file, buffer) = (view.File(disk.Index), new byte[VerifiedAtOnceBytes]);
        for (long at = 0; at < disk.SizeBytes;)
        {
            stop.ThrowIfCancellationRequested();
            var (length, hole) = file.RunAt(at);
            for (var end = at + length; at < end;)
            {
                var part = (int)Math.Min(buffer.Length, end - at);
                if (!hole) file.Read(at, buffer.AsSpan(0, part));
                at = hole ? end : at + part;
            }
        }
    }

    private bool IsThere(string id) => RecoveryPoint.TryParseId(id, out var epoch, out var sequence) && _history.Resolve(epoch, sequence) is not null;

    /// <summary>Segments from this one on hold what a protected point shows.</summary>
    private int FirstProtected() => _notes.IsDamaged ? 0 : _notes.All.Where(n => n.Protected).Select(n =>
        RecoveryPoint.TryParseId(n.Point, out var epoch, out var sequence) ? _history.SegmentOf(epoch, sequence) : null).Min() ?? int.MaxValue;
}
