using SiteRecovery.DataPlane.Blocks;
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
    /// <exception cref="InvalidDataException">The point is not viewable in this store, or it is to be given up and it is not known which are protected.</exception>
    public PointNote Protect(RecoveryPoint point, bool keep)
    {
        lock (_gate)
        {
            if (_history.Resolve(point.Epoch, point.Sequence) is null) throw _history.NotViewable(point.Epoch, point.Sequence);
            // On the disk it may be on its way into the base already, which nobody here knows of.
            if (_isUnsure) Save(_manifest);
            // Nothing is kept that a loss of power would take.
            _log.Flush();
            return _notes.Protect(point.Id, keep, IsThere);
        }
    }

    /// <summary>
    /// Reads every byte that a point shows, and checks it against the checksums of when it was written, and all of it against the point's root hash, where that was
    /// known. What it finds is kept with the point.
    /// </summary>
    /// <remarks>What lies below the log in a file that the store was made over has no checksums: it is read.</remarks>
    /// <exception cref="InvalidDataException">The point is not viewable in this store.</exception>
    public PointNote Verify(RecoveryPoint point, CancellationToken stop)
    {
        var view = At(point);
        string? damage = null, found = null;
        try
        {
            using var root = new RootHash();
            foreach (var disk in view.Disks.OrderBy(d => d.Index)) ReadAll(view, disk, root, stop);
            found = root.Finish();
        }
        catch (IOException unreadable)
        {
            damage = unreadable.Message;
        }
        finally
        {
            view.Release();
        }
        lock (_gate)
        {
            var note = _notes.Of(point.Id);
            if (found is not null && note.Root is { } known && known != found) damage = $"its root hash is {found}, but when it was new it was {known}";
            note = note with { VerifiedAt = _time.GetUtcNow(), Damage = damage, Root = note.Root ?? found };
            _notes.Set([note], IsThere);
            return note;
        }
    }

    private static void ReadAll(StoreView view, DiskRecord disk, RootHash root, CancellationToken stop)
    {
        var (file, buffer, hole) = (view.File(disk.Index), new byte[VerifiedAtOnceBytes], 0L);
        root.AddDisk(disk.Index, disk.SizeBytes);
        for (long at = 0; at < disk.SizeBytes; at += buffer.Length)
        {
            stop.ThrowIfCancellationRequested();
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, disk.SizeBytes - at));
            if (at + part.Length > hole) hole = file.RunAt(at) is { Hole: true } run ? at + run.Length : 0;
            if (at + part.Length <= hole) part.Clear();
            else file.Read(at, part);
            root.AddContent(part);
        }
    }

    /// <summary>What cannot be read just now is not gone, and keeps nobody from saying something of another point.</summary>
    private bool IsThere(string id)
    {
        try
        {
            return RecoveryPoint.TryParseId(id, out var epoch, out var sequence) && _history.Resolve(epoch, sequence) is not null;
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>Segments from this one on hold what a protected point shows.</summary>
    private int FirstProtected() => _notes.IsDamaged ? 0 : _notes.All.Where(n => n.Protected).Select(n =>
        RecoveryPoint.TryParseId(n.Point, out var epoch, out var sequence) ? _history.SegmentOf(epoch, sequence) : null).Min() ?? int.MaxValue;
}
