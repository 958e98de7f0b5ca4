using System.Buffers;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>
/// Copy-on-write over a file that only is read. What was written survives a killed process; what was flushed survives power loss.
/// The format is OVERLAY.md. One instance per pair of files.
/// </summary>
public sealed class OverlayFile : IBlockFile
{
    private const int ClusterBytes = OverlayMap.ClusterBytes, SectorBytes = 512;
    internal const int WrittenRunBytesMax = 1 << 20;
    private const int StripeBytes = 256 << 10, Stripes = 64, LookedAtOnceBytes = 64 << 20;
    private readonly Lock[] _stripes = [.. Enumerable.Range(0, Stripes).Select(_ => new Lock())];
    private readonly Lock _flushing = new();
    private readonly IBlockFile _below;
    private readonly IBlockFile _data;
    private readonly OverlayMap _map;
    private volatile string? _failed;
    private int _disposed;

    /// <param name="below">Never written; disposed with the overlay.</param>
    /// <param name="path">Of the two files, without their suffixes.</param>
    /// <param name="bootId">Null: the operating system's.</param>
    /// <param name="mayHaveForgotten">Somebody knows of a flush of it that failed in this boot of the host: its own note of that may be lost.</param>
    /// <param name="mayDrop">What lies below is there, or lost for good. Else nothing that it is needed for is decided, and it does not open.</param>
    /// <param name="stop">After a flush that failed opening writes everything anew, which takes as long as the layer is large; what is stopped begins anew the next time.</param>
    /// <exception cref="InvalidDataException">The files there belong to a disk of another size or are damaged.</exception>
    public OverlayFile(IBlockFile below, string path, IFileSystem files, Guid? bootId = null, bool mayHaveForgotten = false, bool mayDrop = true, CancellationToken stop = default)
    {
        (_below, LengthBytes) = (below, below.LengthBytes);
        var boot = bootId ?? HostBoot.IdOf(files);
        if (!files.Exists(path + ".map") && files.Exists(path + ".data")) throw new InvalidDataException($"{path}.data has lost its map");
        _map = OverlayMap.Open(path + ".map", LengthBytes, boot, files);
        try
        {
            if (_map.Present > 0 && !files.Exists(path + ".data")) throw new InvalidDataException($"{path}.map has lost its data");
            _data = files.Open(path + ".data", FileOpening.Create);
            if (_data.LengthBytes != LengthBytes) _data.SetLength(LengthBytes);
            files.FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
            if (mayHaveForgotten && !_map.FlushHasFailed) _map.NoteFailedFlush(ofData: false); // until all is written anew, whoever opens it; of which disk is not known
            if (_map.HasFallenBack)
            {
                ClearWhatCountsNoMore(stop);
                _map.Begin();
            }
            if (_map.FlushHasFailed) WriteAnew(mayDrop, stop);
        }
        catch
        {
            _map.Dispose();
            _data?.Dispose();
            throw;
        }
    }

    public long LengthBytes { get; }

    /// <summary>Something of it counts, whether it was written or brought up from below.</summary>
    public bool HasWritten => _map.Present > 0;

    public void SetLength(long lengthBytes) => throw new NotSupportedException("an overlay is as long as what lies below it");

    public void Read(long offset, Span<byte> into)
    {
        ThrowIfFailed();
        var inside = (int)Math.Clamp(LengthBytes - offset, 0, into.Length);
        into[inside..].Clear();
        for (into = into[..inside]; into.Length > 0;)
        {
            var (last, present) = _map.RunAt(offset / ClusterBytes, (offset + into.Length - 1) / ClusterBytes);
            var part = into[..(int)Math.Min(into.Length, (last + 1) * ClusterBytes - offset)];
            (present ? _data : _below).Read(offset, part);
            offset += part.Length;
            into = into[part.Length..];
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> from)
    {
        ThrowIfOutside(offset, from.Length);
        while (from.Length > 0)
        {
            var part = from[..(int)Math.Min(from.Length, StripeBytes - offset % StripeBytes)];
            Change(offset, part.Length, part);
            offset += part.Length;
            from = from[part.Length..];
        }
    }

    public void Zero(long offset, long length)
    {
        ThrowIfOutside(offset, length);
        while (length > 0)
        {
            var part = (int)Math.Min(length, StripeBytes - offset % StripeBytes);
            Change(offset, part, default);
            (offset, length) = (offset + part, length - part);
        }
    }

    public void Flush()
    {
        lock (_flushing)
        {
            if (_failed is not null) _map.TryNoteAgain();
            ThrowIfFailed();
            var ofData = true;
            try
            {
                var added = _map.TakeUnflushed(); // before the data is flushed: none of them may outrun it
                _data.Flush();
                ofData = false;
                _map.MakeDurable(added);
            }
            catch (IOException failure)
            {
                // What a failed flush left behind is unknown: only a new opening finds out.
                _failed ??= failure.Message;
                NoteFailedFlush(ofData);
                throw;
            }
        }
    }

    /// <summary>What it shows may be older than what it took, since a flush failed; until <see cref="ForgetFailedFlush"/>, also for the next process.</summary>
    public bool MayHaveForgotten => _map.FlushHasFailed;

    /// <summary>Whoever compares with it knows.</summary>
    public void ForgetFailedFlush() => _map.ForgetFailedFlush();

    public (long Length, bool Hole) RunAt(long offset)
    {
        ThrowIfFailed();
        if (offset >= LengthBytes) return (0, true);
        var end = Math.Min(LengthBytes, offset + LookedAtOnceBytes);
        var (last, present) = _map.RunAt(offset / ClusterBytes, (end - 1) / ClusterBytes);
        var (run, hole) = (present ? _data : _below).RunAt(offset);
        return (Math.Clamp(run, 1, Math.Min(end, (last + 1) * ClusterBytes) - offset), hole);
    }

    /// <summary>What was written to the overlay, in whole clusters, neighbours as one run of at most 1 MiB; ascending. What flattening brought up is not among it.</summary>
    public IEnumerable<(long Offset, long Length)> WrittenRuns()
    {
        for (var cluster = _map.NextWritten(0); cluster >= 0;)
        {
            var last = _map.WrittenUpTo(cluster, Math.Min((LengthBytes - 1) / ClusterBytes, cluster + WrittenRunBytesMax / ClusterBytes - 1));
            if (!_map.FilledIsDoubtful || !_map.AnyFilled(cluster, last)) yield return Bytes(cluster, last);
            else
                foreach (var run in Differing(cluster, last)) yield return run;
            cluster = _map.NextWritten(last + 1);
        }
    }

    /// <summary>How much of the disk no longer needs what lies below, in whole clusters.</summary>
    public long FlatBytes => Math.Min(LengthBytes, _map.Present * ClusterBytes);

    /// <summary>Nothing of it needs what lies below.</summary>
    public bool IsFlat => FlatBytes == LengthBytes;

    /// <summary>
    /// Copies the next piece that still is only below, at most 256 KiB, without holding up the guest's writes: what they reach first is theirs. When nothing is left,
    /// and <see cref="Flush"/> has returned, the data file alone is the disk.
    /// </summary>
    /// <param name="from">Where to look from: 0, then what the last call returned.</param>
    /// <returns>Where to go on, and how many bytes were copied; null: nothing is left from there on.</returns>
    /// <exception cref="IOException">What lies below cannot be read, or the copy cannot be written.</exception>
    public (long Next, int Copied)? FlattenFrom(long from)
    {
        ThrowIfFailed();
        var first = _map.NextAbsent(from / ClusterBytes);
        if (first < 0) return null;
        var end = Math.Min(LengthBytes, (first * ClusterBytes / StripeBytes + 1) * StripeBytes);
        var (offset, length) = Bytes(first, _map.RunAt(first, (end - 1) / ClusterBytes).Last);
        var hole = _below.RunAt(offset) is { Hole: true } run && run.Length >= length;
        var buffer = hole ? [] : ArrayPool<byte>.Shared.Rent((int)length);
        try
        {
            // Read before the lock is taken: nobody changes what lies below.
            if (!hole) _below.Read(offset, buffer.AsSpan(0, (int)length));
            lock (_stripes[offset / StripeBytes % Stripes])
                for (var at = offset; at < offset + length;)
                {
                    var (last, present) = _map.RunAt(at / ClusterBytes, (offset + length - 1) / ClusterBytes);
                    var (_, part) = Bytes(at / ClusterBytes, last);
                    if (!present)
                    {
                        Put(at, (int)part, hole ? default : buffer.AsSpan((int)(at - offset), (int)part));
                        _map.AddFilled(at / ClusterBytes, last);
                    }
                    at += part;
                }
        }
        finally
        {
            if (!hole) ArrayPool<byte>.Shared.Return(buffer);
        }
        return (offset + length, hole ? 0 : (int)length);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        try
        {
            if (_failed is null) Flush();
            else _map.TryNoteAgain();
        }
        finally
        {
            _data.Dispose();
            _map.Dispose();
            _below.Dispose();
        }
    }

    private void NoteFailedFlush(bool ofData)
    {
        try
        {
            _map.NoteFailedFlush(ofData);
        }
        catch (IOException)
        {
            // A disk that takes nothing at all: this process still knows.
        }
    }

    /// <summary>
    /// An operating system takes what it could not write for written: it shows it for a while, and forgets it with its power or before. What is shown now is what is taken for the disk from
    /// here on, so it must reach the disk.
    /// </summary>
    private void WriteAnew(bool mayDrop, CancellationToken stop)
    {
        var buffer = new byte[WrittenRunBytesMax];
        var clusters = (LengthBytes + ClusterBytes - 1) / ClusterBytes;
        for (var cluster = 0L; cluster < clusters;)
        {
            stop.ThrowIfCancellationRequested();
            var (last, present) = _map.RunAt(cluster, Math.Min(clusters - 1, cluster + WrittenRunBytesMax / ClusterBytes - 1));
            if (present)
            {
                var (offset, length) = Bytes(cluster, last);
                var part = buffer.AsSpan(0, (int)length);
                _data.Read(offset, part);
                if (_map.DataMayBeGone) PutBack(cluster, last, part, mayDrop);
                // A hole stays one: there may be no room for a disk of zeroes.
                if (part.ContainsAnyExcept((byte)0)) _data.Write(offset, part);
                else _data.Zero(offset, length);
            }
            cluster = last + 1;
        }
        _map.UnflushAll();
        Flush();
        _map.KeepDoubt();
        _map.NoteDataWritten();
    }

    /// <summary>
    /// Where a flush of the data has failed, sectors of a cluster that is not durable may have been forgotten already, and are zeroes: also those that were copied up from below, which no guest has written and none was told of.
    /// So what is zero is as it is below. A guest that wrote zeroes there has heard of the flush, or that its disk fails.
    /// </summary>
    private void PutBack(long first, long last, Span<byte> shown, bool mayDrop)
    {
        var below = new byte[ClusterBytes];
        foreach (var cluster in _map.NotDurable(first, last))
        {
            var (offset, length) = Bytes(cluster, cluster);
            var part = shown.Slice((int)(offset - first * ClusterBytes), (int)length);
            if (!AnyZero(part)) continue;
            if (!mayDrop) throw new InvalidDataException($"a flush of it has failed, and what lies below it at {offset} is not to be had");
            if (!part.ContainsAnyExcept((byte)0)) _map.Drop(cluster);
            else if (!TryReadBelow(offset, below.AsSpan(0, (int)length)))
            {
                // Zeroes in its place would be silently wrong; as it is below it says that it is lost.
                part.Clear();
                _map.Drop(cluster);
            }
            else
                for (var at = 0; at < length; at += SectorBytes)
                    if (Sector(part, at) is var sector && !sector.ContainsAnyExcept((byte)0)) Sector(below.AsSpan(0, (int)length), at).CopyTo(sector);
        }

        static Span<byte> Sector(Span<byte> cluster, int at) => cluster.Slice(at, Math.Min(SectorBytes, cluster.Length - at));

        static bool AnyZero(Span<byte> cluster)
        {
            for (var at = 0; at < cluster.Length; at += SectorBytes)
                if (!Sector(cluster, at).ContainsAnyExcept((byte)0)) return true;
            return false;
        }
    }

    /// <summary>What a loss of power has left of clusters that do not count: it must not come back where a later write to them is forgotten.</summary>
    private void ClearWhatCountsNoMore(CancellationToken stop)
    {
        for (var at = 0L; at < LengthBytes;)
        {
            stop.ThrowIfCancellationRequested();
            var (last, present) = _map.RunAt(at / ClusterBytes, (Math.Min(LengthBytes, at + LookedAtOnceBytes) - 1) / ClusterBytes);
            var end = Math.Min(LengthBytes, (last + 1) * ClusterBytes);
            for (; at < end && !present;)
            {
                var (run, hole) = _data.RunAt(at);
                run = Math.Clamp(run, 1, end - at);
                // A hole may be one in memory only, where a flush has failed.
                if (!hole || _map.FlushHasFailed) _data.Zero(at, run);
                at += run;
            }
            at = end;
        }
        Flush(); // also what a process cleared that was killed in front of this
    }

    /// <summary>Changes what lies within one stripe; nothing given stands for zeroes.</summary>
    private void Change(long offset, int length, ReadOnlySpan<byte> from)
    {
        ThrowIfFailed();
        var (first, last) = (offset / ClusterBytes, (offset + length - 1) / ClusterBytes);
        // A cluster that is there and was written to stays so, and nobody fills it again: no lock.
        if (_map.RunAt(first, last) is { Present: true } run && run.Last == last && !_map.AnyFilled(first, last))
        {
            Put(offset, length, from);
            return;
        }
        lock (_stripes[offset / StripeBytes % Stripes])
        {
            Fill(first, first * ClusterBytes, offset);
            Fill(last, offset + length, Math.Min(LengthBytes, (last + 1) * ClusterBytes));
            _map.Unfill(first, last); // before the data: a killed process must not leave a write that counts as none
            Put(offset, length, from);
            _map.Add(first, last);
        }
    }

    /// <summary>Brings up from below what a write leaves untouched of a cluster that is not there yet.</summary>
    private void Fill(long cluster, long from, long to)
    {
        if (from >= to || _map.Has(cluster)) return;
        var buffer = ArrayPool<byte>.Shared.Rent((int)(to - from));
        try
        {
            var fill = buffer.AsSpan(0, (int)(to - from));
            _below.Read(from, fill);
            _data.Write(from, fill);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private (long Offset, long Length) Bytes(long first, long last) => (first * ClusterBytes, Math.Min(LengthBytes, (last + 1) * ClusterBytes) - first * ClusterBytes);

    /// <summary>Of clusters of which it is in doubt whether they were written to: those that are not as they are below.</summary>
    private IEnumerable<(long Offset, long Length)> Differing(long first, long last)
    {
        var (above, below) = (new byte[ClusterBytes], new byte[ClusterBytes]);
        for (var (cluster, from) = (first, -1L); cluster <= last + 1; cluster++)
        {
            var differs = false;
            if (cluster <= last)
            {
                var (offset, length) = Bytes(cluster, cluster);
                _data.Read(offset, above.AsSpan(0, (int)length));
                differs = !TryReadBelow(offset, below.AsSpan(0, (int)length)) || !above.AsSpan(0, (int)length).SequenceEqual(below.AsSpan(0, (int)length));
            }
            if (differs && from < 0) from = cluster;
            if (differs || from < 0) continue;
            yield return Bytes(from, cluster - 1);
            from = -1;
        }
    }

    /// <summary>False: what lies below is lost there. What the layer has is right whether it was written or once copied up.</summary>
    private bool TryReadBelow(long offset, Span<byte> into)
    {
        try
        {
            _below.Read(offset, into);
            return true;
        }
        catch (Exception lost) when (lost is IOException or InvalidDataException)
        {
            return false;
        }
    }

    private void Put(long offset, int length, ReadOnlySpan<byte> from)
    {
        if (from.IsEmpty) _data.Zero(offset, length);
        else _data.Write(offset, from);
    }

    private void ThrowIfOutside(long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, LengthBytes - offset);
    }

    /// <summary>It takes no more requests until it is opened again.</summary>
    public bool HasFailed => _failed is not null;

    private void ThrowIfFailed()
    {
        if (_failed is { } reason) throw new IOException("the overlay takes no more requests until it is opened again: " + reason);
    }
}
