using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Benchmarks;

/// <summary>The retention store over a base: the changes as capture packs them and the process server compresses them, and a marker.</summary>
internal sealed class StoreKeeper(string folder, string disk) : IPointKeeper
{
    private const int ScatteredPerBatch = 256;
    private readonly List<RecoveryPoint> _points = [];
    private Feed _feed = null!;
    private RetentionStore _store = null!;

    public string Name => "siterecovery";
    public long SpaceBytes => Files.AllocatedBytes(folder) + Files.AllocatedBytes(Image);
    private string Image => folder + ".base";

    public Task BeginAsync(CancellationToken stop)
    {
        File.Copy(disk, Image);
        _feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", new FileInfo(disk).Length), TimeSpan.FromSeconds(1));
        _store = RetentionStore.Create(folder, _feed.Machine, [_feed.Disk], Epoch.First, RealFileSystem.Instance, TimeProvider.System, new Dictionary<ushort, string> { [0] = Image });
        _store.Append(_feed.Start());
        _store.Flush();
        return Task.CompletedTask;
    }

    public Task OpenAsync(CancellationToken stop) => Task.CompletedTask;

    public Task WriteAsync(List<KeepingPoints.Change> changes, CancellationToken stop)
    {
        for (var at = 0; at < changes.Count;)
        {
            var count = changes[at].Data.Length >= Feed.PackedBytes ? 1 : changes.Skip(at).Take(ScatteredPerBatch).TakeWhile(c => c.Data.Length < Feed.PackedBytes).Count();
            var some = changes.GetRange(at, count);
            var payload = new byte[some.Sum(c => c.Data.Length)];
            var filled = 0;
            foreach (var change in some)
            {
                change.Data.CopyTo(payload, filled);
                filled += change.Data.Length;
            }
            _store.Append(BatchCodec.Compress(_feed.Delta([.. some.Select(c => new Extent(c.Offset, c.Data.Length, 0, ExtentKind.Data))], payload), PayloadCompression.Zstd));
            at += count;
        }
        _store.Flush();
        return Task.CompletedTask;
    }

    public Task CloseAsync(CancellationToken stop) => Task.CompletedTask;

    public Task KeepAsync(int point, CancellationToken stop)
    {
        _store.Append(_feed.Point());
        _store.Flush();
        _points.Add(_store.ConsistentUpTo!);
        return Task.CompletedTask;
    }

    public void ForgetPages()
    {
        PageCache.Forget(folder);
        PageCache.Forget(Image);
    }

    /// <summary>From a store that is opened for it.</summary>
    public Task RestoreAsync(int point, string file, CancellationToken stop)
    {
        using var store = RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System, readOnly: true);
        using var target = RealFileSystem.Instance.Open(file, FileOpening.Create);
        var (view, piece) = (store.At(_points[point]).File(0), new byte[1 << 20]);
        target.SetLength(view.LengthBytes);
        for (long at = 0; at < view.LengthBytes; at += piece.Length)
        {
            var part = piece.AsSpan(0, (int)Math.Min(piece.Length, view.LengthBytes - at));
            view.Read(at, part);
            if (part.ContainsAnyExcept((byte)0)) target.Write(at, part);
        }
        return Task.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        _store.Dispose();
        Directory.Delete(folder, recursive: true);
        File.Delete(Image);
        return default;
    }
}
