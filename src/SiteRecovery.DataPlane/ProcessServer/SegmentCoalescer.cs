using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Rewrites a segment without what its own later deltas overwrite, into a file beside it. One at a time: its buffers are its memory.</summary>
internal sealed class SegmentCoalescer(IFileSystem files)
{
    private readonly byte[] _payload = new byte[BatchCodec.PayloadBytesMax], _raw = new byte[BatchCodec.PayloadBytesMax];
    private readonly byte[] _copy = new byte[64 << 10], _prefix = new byte[BatchCodec.HeaderBytes + BatchCodec.ExtentsMax * BatchCodec.ExtentBytes];
    private readonly List<Extent> _extents = [];

    /// <summary>The new length, and how many deltas are no longer what they were (none: the file beside it is not worth having).</summary>
    /// <exception cref="InvalidDataException">A frame is damaged.</exception>
    public (long End, long Coalesced) Rewrite(SpoolSegment segment, string path, CancellationToken stop)
    {
        using var from = files.Open(segment.Path, FileOpening.Read);
        using var to = files.Open(path, FileOpening.Create);
        to.SetLength(0);
        var output = new Output(to);
        Copy(from, 0, segment.HeaderBytes, output);
        var (run, coalesced) = (new CoalescingRun(), 0L);
        for (long at = segment.HeaderBytes; at < segment.End;)
        {
            stop.ThrowIfCancellationRequested();
            var batch = ReadPrefix(from, at, segment.End);
            if (!CoalescingRun.Takes(batch.Header) || !run.HasRoomFor(batch.Header))
            {
                coalesced += Close(run, from, output);
                run = new CoalescingRun();
            }
            if (CoalescingRun.Takes(batch.Header)) run.Add(at, batch);
            else Copy(from, at, batch.Header.FrameBytes, output);
            at += batch.Header.FrameBytes;
        }
        coalesced += Close(run, from, output);
        return (output.End, coalesced);
    }

    private Batch ReadPrefix(IBlockFile from, long at, long end)
    {
        from.Read(at, _prefix.AsSpan(0, BatchCodec.HeaderBytes));
        var header = BatchCodec.ReadHeader(_prefix);
        if (at + header.FrameBytes > end) throw new InvalidDataException("frame reaches over the end");
        var bytes = BatchCodec.HeaderBytes + header.ExtentCount * BatchCodec.ExtentBytes;
        from.Read(at, _prefix.AsSpan(0, bytes));
        return new Batch(header, _prefix.AsMemory(0, bytes));
    }

    private long Close(CoalescingRun run, IBlockFile from, Output output)
    {
        if (!run.IsWorthIt)
        {
            foreach (var (offset, header) in run.Frames) Copy(from, offset, header.FrameBytes, output);
            return 0;
        }
        var carrier = Carrier(run, from);
        for (var i = 0; i < run.Frames.Count; i++)
        {
            var (offset, header) = run.Frames[i];
            if (i == run.Carrier) output.Append(carrier.Frame.Span);
            else if (header.IsTick) Copy(from, offset, header.FrameBytes, output);
            else output.Append(BatchCodec.Encode(header with { Coalesced = true, Absorbed = true }, [], []).Frame.Span);
        }
        return run.Deltas;
    }

    private Batch Carrier(CoalescingRun run, IBlockFile from)
    {
        var (bytes, compression) = (0, PayloadCompression.None);
        _extents.Clear();
        for (var i = 0; i <= run.Carrier; i++)
        {
            var (offset, header) = run.Frames[i];
            if (header.IsTick) continue;
            if (header.Compression != PayloadCompression.None) compression = header.Compression;
            bytes += Take(run.ExtentsOf(i), Read(from, offset, header), _payload.AsSpan(bytes));
        }
        var carried = run.Frames[run.Carrier].Header with { Coalesced = true };
        return BatchCodec.Compress(BatchCodec.Encode(carried, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_extents), _payload.AsSpan(0, bytes)), compression);
    }

    /// <summary>Its uncompressed payload, checked as it came from the source.</summary>
    private ReadOnlySpan<byte> Read(IBlockFile from, long offset, BatchHeader header)
    {
        var frame = GC.AllocateUninitializedArray<byte>(header.FrameBytes);
        from.Read(offset, frame);
        var batch = BatchCodec.Verify(frame);
        if (batch.Header != header) throw new InvalidDataException("another frame than was read before");
        BatchCodec.Decompress(batch, _raw);
        return _raw.AsSpan(0, header.RawBytes);
    }

    private int Take(IEnumerable<(Extent Extent, bool Visible)> extents, ReadOnlySpan<byte> raw, Span<byte> into)
    {
        var (at, taken) = (0, 0);
        foreach (var (extent, visible) in extents)
        {
            var length = extent.Kind == ExtentKind.Data ? extent.Length : 0;
            if (visible)
            {
                raw.Slice(at, length).CopyTo(into[taken..]);
                taken += length;
                _extents.Add(extent);
            }
            at += length;
        }
        return taken;
    }

    private void Copy(IBlockFile from, long offset, long length, Output output)
    {
        for (; length > 0;)
        {
            var part = _copy.AsSpan(0, (int)Math.Min(length, _copy.Length));
            from.Read(offset, part);
            output.Append(part);
            (offset, length) = (offset + part.Length, length - part.Length);
        }
    }

    private sealed class Output(IBlockFile file)
    {
        public long End { get; private set; }

        public void Append(ReadOnlySpan<byte> bytes)
        {
            file.Write(End, bytes);
            End += bytes.Length;
        }
    }
}
