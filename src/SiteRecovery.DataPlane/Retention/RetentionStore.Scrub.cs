using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;

namespace SiteRecovery.DataPlane.Retention;

/// <content>The scrub: what nobody looks at is read again from time to time, so that rot is found while there is still a source to mend it from.</content>
public sealed partial class RetentionStore
{
    // Where the next piece begins: in a sealed segment, or behind all of them in the base of a disk.
    private (SegmentId Segment, int Frame, int Disk, long Offset) _scrubAt;
    private Dictionary<(string File, long Offset), StoreDamage> _rot = [], _rotOfRound = [];

    /// <summary>When the last round over everything ended.</summary>
    public DateTimeOffset? ScrubbedAt { get; private set; }

    /// <summary>A round has ended, and no other one has begun.</summary>
    public bool IsBetweenScrubs { get { lock (_maintaining) return ScrubbedAt is not null && _scrubAt == default; } }

    /// <summary>What the scrub has found and not found mended since.</summary>
    public IReadOnlyList<StoreDamage> Rot { get { lock (_gate) return [.. _rot.Values]; } }

    /// <summary>Reads and checks about so many bytes of sealed segments and base, on from where the last call ended.</summary>
    /// <exception cref="StoreLockedException">It is encrypted, and its keys are not to be had.</exception>
    public void Scrub(long bytes, CancellationToken stop)
    {
        _keys.Check();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _ended.Token);
        lock (_maintaining)
        {
            while (bytes > 0 && !either.IsCancellationRequested)
            {
                if (_scrubAt == default) _scrubbedBelow = SealedPoints();
                SegmentId? segment;
                lock (_gate) segment = _scrubAt.Disk > 0 || _scrubAt.Offset > 0 ? null : _history.Segments.Where(s => s >= _scrubAt.Segment.Number && !_log.IsTail(s)).Select(s => (SegmentId?)_log.IdOf(s)).FirstOrDefault();
                if (segment is { } next) bytes -= ScrubSegment(next, bytes);
                else if (_scrubAt.Disk < _manifest.Disks.Count) bytes -= ScrubBase(bytes);
                else
                {
                    EndRound();
                    break;
                }
            }
            NoteRot();
        }
    }

    private long ScrubSegment(SegmentId segment, long bytes)
    {
        if (_scrubAt.Segment != segment) _scrubAt = (segment, 0, 0, 0);
        List<(long Offset, Batch Prefix)> frames;
        try
        {
            frames = _log.FramesOf(segment);
            if (_scrubAt.Frame == 0) CheckHeader(segment);
        }
        catch (IOException damage)
        {
            Note(new StoreDamage(_log.PathOf(segment), 0, damage.Message));
            _scrubAt = (SegmentId.Of(segment.Number + 1), 0, 0, 0);
            return 1;
        }
        var read = 0L;
        for (; _scrubAt.Frame < frames.Count && read < bytes; _scrubAt.Frame++)
        {
            var (offset, prefix) = frames[_scrubAt.Frame];
            read += prefix.Header.FrameBytes;
            try
            {
                _log.CheckFrame(segment, offset);
            }
            catch (IOException damage)
            {
                Note(new StoreDamage(_log.PathOf(segment), offset, damage.Message, [.. Enumerable.Range(0, prefix.Header.ExtentCount).Select(prefix.ExtentAt).Select(e => (e.Disk, e.Offset, (long)e.Length))]));
            }
        }
        if (_scrubAt.Frame >= frames.Count) _scrubAt = (SegmentId.Of(segment.Number + 1), 0, 0, 0);
        return Math.Max(1, read);
    }

    /// <summary>Nothing that a view shows hangs on it: its frames are scrubbed all the same.</summary>
    private void CheckHeader(SegmentId segment)
    {
        var reason = "segment header is damaged";
        try
        {
            if (_log.HasHeader(segment)) return;
        }
        catch (IOException unreadable)
        {
            reason = "segment header cannot be read: " + unreadable.Message;
        }
        Note(new StoreDamage(_log.PathOf(segment), 0, reason));
    }

    private long ScrubBase(long bytes)
    {
        var disk = _manifest.Disks[_scrubAt.Disk];
        var (read, damage) = _bases.Scrub(disk.Index, _scrubAt.Offset, Math.Min(bytes, PieceBytes));
        if (damage is not null) Note(damage with { Ranges = [(disk.Index, _scrubAt.Offset, read)] });
        _scrubAt = _scrubAt.Offset + read < disk.SizeBytes ? _scrubAt with { Offset = _scrubAt.Offset + read } : (SegmentId.Of(int.MaxValue), 0, _scrubAt.Disk + 1, 0);
        return Math.Max(1, read);
    }

    private void Note(StoreDamage damage)
    {
        lock (_gate) _rot[(damage.File, damage.Offset)] = _rotOfRound[(damage.File, damage.Offset)] = damage;
        _rotIsNoted = false;
    }

    /// <summary>The two files that nothing else of the store could tell again. The manifest is known here, so that it is written anew.</summary>
    private void ScrubManifest()
    {
        foreach (var aside in _log.Aside()) Note(aside);
        lock (_gate) ScrubNotes();
        if (_keys.Mend() is { } damagedKeys) Note(new StoreDamage(Path.Combine(Folder, damagedKeys), 0, "one of the two copies of the keys was damaged"));
        try
        {
            if (_files.TryReadAll(Path.Combine(Folder, StoreManifest.FileName)) is { } bytes) StoreManifest.Parse(bytes);
        }
        catch (Exception damage) when (damage is InvalidDataException or IOException)
        {
            Note(new StoreDamage(Path.Combine(Folder, StoreManifest.FileName), 0, damage.Message));
            lock (_gate) Save(_manifest);
        }
    }

    private void ScrubNotes()
    {
        var file = Path.Combine(Folder, PointNotes.FileName);
        _notes.ReadAgain();
        if (_notes.IsDamaged) Note(new StoreDamage(file, 0, "which points are protected is not known"));
        else if (_notes.IsFileDamaged)
        {
            Note(new StoreDamage(file, 0, "what was said of points was damaged, and is written anew"));
            _notes.Mend();
        }
    }

    private void EndRound()
    {
        ScrubManifest();
        lock (_gate) (_rot, _rotOfRound) = (_rotOfRound, []);
        (_scrubAt, ScrubbedAt) = (default, _time.GetUtcNow());
        NotePoints();
    }
}
