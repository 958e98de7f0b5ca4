using System.Buffers;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>
/// Copy-on-write over a read-only disk. What was written survives a killed process; what was flushed survives power loss.
/// The format is OVERLAY.md. One instance per pair of files.
/// </summary>
public sealed class OverlayDisk : IBlockDevice
{
    private const int ClusterBytes = OverlayMap.ClusterBytes;
    private const int StripeBytes = 256 << 10, Stripes = 64, StatusExtentsMax = 1024;
    private readonly SemaphoreSlim[] _stripes = [.. Enumerable.Range(0, Stripes).Select(_ => new SemaphoreSlim(1, 1))];
    private readonly SemaphoreSlim _flushing = new(1, 1);
    private readonly IBlockDevice _below;
    private readonly IBlockFile _data;
    private readonly OverlayMap _map;
    private volatile string? _failed;

    /// <param name="path">Of the two files, without their suffixes.</param>
    /// <param name="bootId">Null: the operating system's.</param>
    /// <exception cref="InvalidDataException">The files there belong to a disk of another size or are damaged.</exception>
    public OverlayDisk(IBlockDevice below, string path, IFileSystem files, Guid? bootId = null)
    {
        _below = below;
        var boot = bootId ?? (files.TryReadAll("/proc/sys/kernel/random/boot_id") is { } text && Guid.TryParse(text, null, out var id) ? id : Guid.Empty);
        if (!files.Exists(path + ".map") && files.Exists(path + ".data")) throw new InvalidDataException($"{path}.data has lost its map");
        _map = OverlayMap.Open(path + ".map", below.SizeBytes, boot, files);
        try
        {
            _data = files.Open(path + ".data", FileOpening.Create);
            if (_data.LengthBytes != below.SizeBytes) _data.SetLength(below.SizeBytes);
            files.FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch
        {
            _map.Dispose();
            _data?.Dispose();
            throw;
        }
    }

    public long SizeBytes => _below.SizeBytes;
    public bool ReadOnly => false;

    public async ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        ThrowIfFailed();
        while (into.Length > 0)
        {
            var (last, present) = _map.RunAt(offset / ClusterBytes, (offset + into.Length - 1) / ClusterBytes);
            var part = into[..(int)Math.Min(into.Length, (last + 1) * ClusterBytes - offset)];
            if (present) _data.Read(offset, part.Span);
            else await _below.ReadAsync(offset, part, stop).ConfigureAwait(false);
            (offset, into) = (offset + part.Length, into[part.Length..]);
        }
    }

    public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
    {
        while (from.Length > 0)
        {
            var part = from[..(int)Math.Min(from.Length, StripeBytes - offset % StripeBytes)];
            await WritePartAsync(offset, part.Length, part, stop).ConfigureAwait(false);
            (offset, from) = (offset + part.Length, from[part.Length..]);
        }
        if (forceUnitAccess) await FlushAsync(stop).ConfigureAwait(false);
    }

    public async ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
    {
        while (length > 0)
        {
            var part = (int)Math.Min(length, StripeBytes - offset % StripeBytes);
            await WritePartAsync(offset, part, null, stop).ConfigureAwait(false);
            (offset, length) = (offset + part, length - part);
        }
        if (forceUnitAccess) await FlushAsync(stop).ConfigureAwait(false);
    }

    public async ValueTask FlushAsync(CancellationToken stop)
    {
        await _flushing.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            ThrowIfFailed();
            var added = _map.TakeUnflushed(); // before the data is flushed: none of them may outrun it
            _data.Flush();
            _map.MakeDurable(added);
        }
        catch (IOException failure)
        {
            // What a failed flush left behind is unknown: only a new opening finds out.
            _failed ??= failure.Message;
            throw;
        }
        finally
        {
            _flushing.Release();
        }
    }

    public async ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop)
    {
        ThrowIfFailed();
        var status = new List<BlockStatusExtent>();
        for (var end = offset + length; offset < end && status.Count < StatusExtentsMax;)
        {
            var (last, present) = _map.RunAt(offset / ClusterBytes, (end - 1) / ClusterBytes);
            var runEnd = Math.Min(end, (last + 1) * ClusterBytes);
            if (present)
            {
                var (run, hole) = _data.RunAt(offset);
                run = Math.Clamp(run, 1, runEnd - offset);
                status.Add(new BlockStatusExtent(run, hole, hole));
                offset += run;
                continue;
            }
            foreach (var extent in await _below.StatusAsync(offset, runEnd - offset, stop).ConfigureAwait(false))
            {
                status.Add(extent);
                offset += extent.Length;
            }
        }
        return status;
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_failed is null) await FlushAsync(CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            _data.Dispose();
            _map.Dispose();
            await _below.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Writes within one stripe; null stands for zeroes.</summary>
    private async ValueTask WritePartAsync(long offset, int length, ReadOnlyMemory<byte>? from, CancellationToken stop)
    {
        ThrowIfFailed();
        var (first, last) = (offset / ClusterBytes, (offset + length - 1) / ClusterBytes);
        // A cluster that is there stays there, and nobody fills it again: no lock.
        if (_map.RunAt(first, last) is { Present: true } run && run.Last == last)
        {
            Put(offset, length, from);
            return;
        }
        var stripe = _stripes[offset / StripeBytes % Stripes];
        await stripe.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            await FillAsync(first, first * ClusterBytes, offset, stop).ConfigureAwait(false);
            await FillAsync(last, offset + length, Math.Min(SizeBytes, (last + 1) * ClusterBytes), stop).ConfigureAwait(false);
            Put(offset, length, from);
            _map.Add(first, last);
        }
        finally
        {
            stripe.Release();
        }
    }

    /// <summary>Brings up from below what a write leaves untouched of a cluster that is not there yet.</summary>
    private async ValueTask FillAsync(long cluster, long from, long to, CancellationToken stop)
    {
        if (from >= to || _map.Has(cluster)) return;
        var buffer = ArrayPool<byte>.Shared.Rent((int)(to - from));
        try
        {
            var fill = buffer.AsMemory(0, (int)(to - from));
            await _below.ReadAsync(from, fill, stop).ConfigureAwait(false);
            _data.Write(from, fill.Span);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void Put(long offset, int length, ReadOnlyMemory<byte>? from)
    {
        if (from is { } bytes) _data.Write(offset, bytes.Span);
        else _data.Zero(offset, length);
    }

    private void ThrowIfFailed()
    {
        if (_failed is { } reason) throw new IOException("the overlay takes no more requests until it is opened again: " + reason);
    }
}
