using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The maps of sealed segments: opened when first needed, and made from the segment's index where they are missing or damaged. Safe for concurrent calls.</summary>
internal sealed class SegmentMaps(string folder, IFileSystem files, ulong tag, bool readOnly, Func<SegmentId, long> bytesOf, Func<SegmentId, ExtentMap> make) : IDisposable
{
    private readonly ConcurrentDictionary<SegmentId, Lazy<Source>> _open = new();
    private volatile bool _disposed;

    /// <exception cref="IOException">It has to be made, and the segment is damaged.</exception>
    internal IExtentSource Of(SegmentId segment)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var source = _open.GetOrAdd(segment, n => new Lazy<Source>(() => new Source(this, n)));
        try
        {
            return source.Value;
        }
        catch
        {
            // What hindered it may be gone at the next look.
            _open.TryRemove(new(segment, source));
            throw;
        }
    }

    /// <summary>The files of segments that are gone are closed; who still reads them fails.</summary>
    internal void Forget(Func<SegmentId, bool> gone)
    {
        foreach (var segment in _open.Keys.Where(gone).ToArray())
            if (_open.TryRemove(segment, out var source) && source.IsValueCreated) source.Value.Dispose();
    }

    internal string PathOf(SegmentId segment) => SegmentFile.PathOf(folder, segment, ".map");

    public void Dispose()
    {
        _disposed = true;
        foreach (var source in _open.Values)
            if (source.IsValueCreated) source.Value.Dispose();
        _open.Clear();
    }

    private IExtentSource Open(SegmentId segment) => MapFile.TryOpen(PathOf(segment), files, tag, segment, bytesOf(segment)) is { } file ? file : Make(segment);

    private IExtentSource Make(SegmentId segment)
    {
        var map = make(segment);
        if (readOnly) return map;
        try
        {
            MapFile.Write(PathOf(segment), files, tag, segment, bytesOf(segment), map.InOrder());
        }
        catch (IOException)
        {
            return map; // no room for it, say: then it is made again next time
        }
        return MapFile.TryOpen(PathOf(segment), files, tag, segment, bytesOf(segment)) is { } file ? file : map;
    }

    /// <summary>A segment's map, as it is now.</summary>
    private sealed class Source(SegmentMaps maps, SegmentId segment) : IExtentSource, IDisposable
    {
        private readonly Lock _gate = new();
        private volatile IExtentSource _now = maps.Open(segment);

        public void Find(ushort disk, long from, long to, List<MappedExtent> into)
        {
            var (found, asked) = (into.Count, _now);
            try
            {
                asked.Find(disk, from, to, into);
            }
            catch (Exception damage) when (damage is InvalidDataException or IOException)
            {
                into.RemoveRange(found, into.Count - found);
                Replace(asked).Find(disk, from, to, into);
            }
        }

        public void Dispose() => (_now as IDisposable)?.Dispose();

        private IExtentSource Replace(IExtentSource damaged)
        {
            lock (_gate)
            {
                if (_now != damaged) return _now;
                // Others may be reading the damaged one: it is closed by the collector.
                return _now = maps.Make(segment);
            }
        }
    }
}
