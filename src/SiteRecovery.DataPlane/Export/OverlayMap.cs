using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Which clusters of an overlay count: OVERLAY.md. A bit once set stays set, so that reading one needs no lock.</summary>
internal sealed class OverlayMap : IDisposable
{
    internal const int ClusterBytes = 4096;
    private const int PageBytes = 4096, HeaderBytes = 48, Version = 1;
    private const uint Magic = 0x564F5253; // "SROV"
    private readonly Lock _gate = new();
    private readonly IBlockFile _file;
    private readonly byte[] _live;
    private readonly bool[] _unflushedPages;

    private OverlayMap(IBlockFile file, long sizeBytes)
    {
        var clusters = (sizeBytes + ClusterBytes - 1) / ClusterBytes;
        var pages = (clusters + PageBytes * 8 - 1) / (PageBytes * 8);
        (_file, _live, _unflushedPages) = (file, new byte[pages * PageBytes], new bool[pages]);
        file.SetLength(DurableAt + _live.Length);
    }

    private long DurableAt => PageBytes + _live.Length;

    /// <exception cref="InvalidDataException">The file is no map of a disk of this size.</exception>
    internal static OverlayMap Open(string path, long sizeBytes, Guid bootId, IFileSystem files)
    {
        if (!files.Exists(path)) files.Replace(path, Header(sizeBytes, bootId));
        var file = files.Open(path, FileOpening.ReadWrite);
        try
        {
            var stored = new byte[HeaderBytes];
            file.Read(0, stored);
            var storedBoot = new Guid(stored.AsSpan(24, 16));
            if (!stored.AsSpan().SequenceEqual(Header(sizeBytes, storedBoot))) throw new InvalidDataException($"{path} is damaged or belongs to a disk of another size");
            var map = new OverlayMap(file, sizeBytes);
            if (storedBoot == bootId && bootId != Guid.Empty) map.Resume();
            else map.FallBack(sizeBytes, bootId);
            return map;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    internal bool Has(long cluster) => (Volatile.Read(ref _live[cluster >> 3]) & (1 << (int)(cluster & 7))) != 0;

    /// <summary>The run of clusters from <paramref name="first"/>, up to <paramref name="last"/>, that are all there or all not.</summary>
    internal (long Last, bool Present) RunAt(long first, long last)
    {
        var present = Has(first);
        var end = first;
        while (end < last && Has(end + 1) == present) end++;
        return (end, present);
    }

    /// <summary>The first cluster from that one on that is there, or -1.</summary>
    internal long NextFrom(long cluster)
    {
        for (; cluster >> 3 < _live.Length; cluster++)
        {
            if (Has(cluster)) return cluster;
            if ((cluster & 7) != 7) continue;
            var skipped = _live.AsSpan((int)(cluster >> 3) + 1).IndexOfAnyExcept((byte)0);
            if (skipped < 0) return -1;
            cluster += 8L * skipped;
        }
        return -1;
    }

    /// <summary>Their data is written: from here on they count, also for the next process.</summary>
    internal void Add(long first, long last)
    {
        lock (_gate)
        {
            var (from, to) = (first >> 3, last >> 3);
            for (var at = from; at <= to; at++)
            {
                var low = at == from ? (int)(first & 7) : 0;
                var high = at == to ? (int)(last & 7) : 7;
                var mask = (0xFF << low) & (0xFF >> (7 - high));
                // Visible to readers before it is on file is fine: the data is there already.
                Volatile.Write(ref _live[at], (byte)(_live[at] | mask));
                _unflushedPages[at / PageBytes] = true;
            }
            _file.Write(PageBytes + from, _live.AsSpan((int)from, (int)(to - from + 1)));
        }
    }

    /// <summary>The pages that changed since the last call. Their bits may become durable once the data has been flushed.</summary>
    internal List<(int Page, byte[] Bits)> TakeUnflushed()
    {
        var taken = new List<(int, byte[])>();
        lock (_gate)
            for (var page = 0; page < _unflushedPages.Length; page++)
            {
                if (!_unflushedPages[page]) continue;
                _unflushedPages[page] = false;
                taken.Add((page, _live.AsSpan(page * PageBytes, PageBytes).ToArray()));
            }
        return taken;
    }

    internal void MakeDurable(List<(int Page, byte[] Bits)> taken)
    {
        if (taken.Count == 0) return;
        foreach (var (page, bits) in taken) _file.Write(DurableAt + (long)page * PageBytes, bits);
        _file.Flush();
    }

    public void Dispose() => _file.Dispose();

    private void Resume()
    {
        _file.Read(PageBytes, _live);
        var durable = new byte[PageBytes];
        for (var page = 0; page < _unflushedPages.Length; page++)
        {
            _file.Read(DurableAt + (long)page * PageBytes, durable);
            _unflushedPages[page] = !durable.AsSpan().SequenceEqual(_live.AsSpan(page * PageBytes, PageBytes));
        }
    }

    private void FallBack(long sizeBytes, Guid bootId)
    {
        _file.Read(DurableAt, _live);
        _file.Write(PageBytes, _live);
        _file.Flush();
        _file.Write(0, Header(sizeBytes, bootId));
        _file.Flush();
    }

    private static byte[] Header(long sizeBytes, Guid bootId)
    {
        var bytes = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), ClusterBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), sizeBytes);
        bootId.TryWriteBytes(bytes.AsSpan(24));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(40), XxHash3.HashToUInt64(bytes.AsSpan(0, 40)));
        return bytes;
    }
}
