using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>A segment that thinning writes beside those that it will take the place of, with all files that belong to it.</summary>
/// <param name="told">What is to be known of it, with what the store knows beside.</param>
/// <param name="first">The first segment that it will take the place of.</param>
/// <param name="lowest">The first number that that one stands for: its keys are those of it.</param>
/// <param name="before">In front of that.</param>
internal sealed class SegmentDraft(StoreLog log, Func<SegmentEnd, SegmentEnd> told, IFileSystem files, ulong tag, Epoch epoch, int first, int lowest, HistoryState before) : IDisposable
{
    private readonly SegmentIndex _index = new(tag, first);
    private readonly ExtentMap _map = new();
    private SegmentHistory _history = new(first, before) { Kept = null };
    private IBlockFile? _file;

    /// <summary>Which it is, once it is complete.</summary>
    internal SegmentId Id { get; private set; }
    internal string Path { get; } = log.PathOf(SegmentId.Of(first), ".seg.tmp");
    internal long Bytes { get; private set; } = SegmentFile.ThinnedHeaderBytes;
    internal SegmentHistory History => _history;
    internal HistoryState State { get; private set; } = before;
    internal List<RecoveryPoint> Points { get; } = [];

    internal void Append(Batch batch)
    {
        if (_file is null) Begin();
        var stored = log.AsStored(batch, lowest);
        _file!.Write(Bytes, stored.Frame.Span);
        var entry = new LogEntry(Id, Bytes, stored.Header);
        _index.Add(Bytes, stored);
        _map.Add(entry, stored, long.MaxValue);
        Bytes += stored.Frame.Length;
        if (stored != batch) FramePool.Shared.Return(stored.Frame);
        var text = RetentionStore.TextOf(batch);
        (State, var viewable) = State.After(batch.Header, text);
        _history.Add(entry, viewable);
        if (StoreHistory.PointAt(State, batch.Header, viewable, text) is { } point) Points.Add(point);
    }

    /// <summary>All of it is durable but for its name.</summary>
    internal void Complete(SegmentId id, TimeSpan step)
    {
        (Id, _history) = (id, _history.Numbered(id.Number));
        if (_file is null) Begin();
        _file!.Write(0, SegmentFile.Header(tag, id, step));
        _file.Flush();
        files.Replace(log.PathOf(id, ".idx"), _index.ToBytes(id.Number));
        files.Replace(log.PathOf(id, ".end"), told(SegmentEnd.Of(tag, Bytes, epoch, _history, State, Points)).ToBytes());
        MapFile.Write(log.PathOf(id, ".map"), files, tag, id, Bytes, _map.InOrder());
    }

    /// <summary>Nothing is left of it.</summary>
    internal void Discard()
    {
        Dispose();
        string[] left = [Path, .. Id.Generation == 0 ? (string[])[] : [log.PathOf(Id, ".idx"), log.PathOf(Id, ".end"), log.PathOf(Id, ".map")]];
        foreach (var path in left)
            if (files.Exists(path)) files.Delete(path);
    }

    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    private void Begin()
    {
        _file = files.Open(Path, FileOpening.Create);
        _file.SetLength(0);
    }
}
