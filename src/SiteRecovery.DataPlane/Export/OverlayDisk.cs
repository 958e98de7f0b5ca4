using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>
/// Copy-on-write over a read-only disk: whole clusters in a sparse file, and a byte per cluster that says whether it is there.
/// Flushing makes the data durable before the presence bytes are written at all, so that no presence byte outruns its data.
/// </summary>
public sealed class OverlayDisk : IBlockDevice
{
    private const int ClusterBytes = 4096;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly IBlockDevice _below;
    private readonly IBlockFile _data;
    private readonly IBlockFile _presence;
    private readonly byte[] _present;
    private readonly HashSet<long> _added = [];

    public OverlayDisk(IBlockDevice below, string path, IFileSystem files)
    {
        _below = below;
        _data = files.Open(path + ".data", FileOpening.Create);
        _presence = files.Open(path + ".map", FileOpening.Create);
        _data.SetLength(below.SizeBytes);
        _present = new byte[(below.SizeBytes + ClusterBytes - 1) / ClusterBytes];
        _presence.Read(0, _present);
        files.FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    public long SizeBytes => _below.SizeBytes;
    public bool ReadOnly => false;

    public async ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            while (into.Length > 0)
            {
                var part = into[..(int)Math.Min(into.Length, ClusterBytes - offset % ClusterBytes)];
                if (_present[offset / ClusterBytes] != 0) _data.Read(offset, part.Span);
                else await _below.ReadAsync(offset, part, stop);
                (offset, into) = (offset + part.Length, into[part.Length..]);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            var cluster = new byte[ClusterBytes];
            while (from.Length > 0)
            {
                var (index, start) = (offset / ClusterBytes, (int)(offset % ClusterBytes));
                var part = from[..Math.Min(from.Length, ClusterBytes - start)];
                if (_present[index] != 0) _data.Write(offset, part.Span);
                else
                {
                    var whole = cluster.AsMemory(0, (int)Math.Min(ClusterBytes, SizeBytes - index * ClusterBytes));
                    if (part.Length < whole.Length) await _below.ReadAsync(index * ClusterBytes, whole, stop);
                    part.CopyTo(whole[start..]);
                    _data.Write(index * ClusterBytes, whole.Span);
                    _present[index] = 1;
                    _added.Add(index);
                }
                (offset, from) = (offset + part.Length, from[part.Length..]);
            }
            if (forceUnitAccess) Flush();
        }
        finally
        {
            _gate.Release();
        }
    }

    public async ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
    {
        var zeroes = new byte[(int)Math.Min(length, 1 << 20)];
        for (long done = 0; done < length; done += zeroes.Length)
            await WriteAsync(offset + done, zeroes.AsMemory(0, (int)Math.Min(zeroes.Length, length - done)), false, stop);
        if (forceUnitAccess) await FlushAsync(stop);
    }

    public async ValueTask FlushAsync(CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            Flush();
        }
        finally
        {
            _gate.Release();
        }
    }

    public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) =>
        new([new BlockStatusExtent(length, Hole: false, Zero: false)]);

    public async ValueTask DisposeAsync()
    {
        await FlushAsync(CancellationToken.None);
        _data.Dispose();
        _presence.Dispose();
        await _below.DisposeAsync();
    }

    private void Flush()
    {
        _data.Flush();
        if (_added.Count == 0) return;
        foreach (var index in _added) _presence.Write(index, [1]);
        _presence.Flush();
        _added.Clear();
    }
}
