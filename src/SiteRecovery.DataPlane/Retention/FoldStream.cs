using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>A stream of sync batches that a store makes for itself out of files.</summary>
/// <param name="begun">What all its batches have in common.</param>
internal sealed class FoldStream(RetentionStore store, BatchHeader begun)
{
    private const int PayloadBytesMax = 1 << 20, ExtentsMax = 512, PageBytes = 4096;
    private readonly byte[] _read = new byte[PayloadBytesMax];
    private readonly byte[] _payload = new byte[PayloadBytesMax];
    private readonly List<Extent> _extents = new(ExtentsMax);
    private int _payloadBytes;
    private long _ordinal;

    /// <summary>What was written to a disk; pages of zeroes become zero extents.</summary>
    internal void Add(WrittenDisk disk)
    {
        foreach (var (offset, length) in disk.Runs)
            for (long at = 0; at < length; at += PayloadBytesMax)
            {
                var piece = _read.AsSpan(0, (int)Math.Min(PayloadBytesMax, length - at));
                disk.File.Read(offset + at, piece);
                AddPiece(disk.Disk, offset + at, piece);
            }
    }

    /// <summary>Behind what was added before it.</summary>
    internal void Mark(MarkerKind marker, Sequence at, ReadOnlySpan<byte> text)
    {
        Ship();
        Append(begun with { Kind = BatchKind.Marker, Marker = marker, First = at, Last = at }, [], text);
    }

    private void AddPiece(ushort disk, long offset, ReadOnlySpan<byte> piece)
    {
        for (var from = 0; from < piece.Length;)
        {
            var (to, zero) = (Math.Min(piece.Length, from + PageBytes), IsZero(piece, from));
            while (to < piece.Length && IsZero(piece, to) == zero) to = Math.Min(piece.Length, to + PageBytes);
            var length = to - from;
            if (_extents.Count == ExtentsMax || (!zero && _payloadBytes + length > PayloadBytesMax)) Ship();
            _extents.Add(new Extent(offset + from, length, disk, zero ? ExtentKind.Zero : ExtentKind.Data));
            if (!zero)
            {
                piece[from..to].CopyTo(_payload.AsSpan(_payloadBytes));
                _payloadBytes += length;
            }
            from = to;
        }
    }

    private static bool IsZero(ReadOnlySpan<byte> piece, int from) => !piece.Slice(from, Math.Min(PageBytes, piece.Length - from)).ContainsAnyExcept((byte)0);

    private void Ship()
    {
        if (_extents.Count == 0) return;
        Append(begun with { Kind = BatchKind.Sync }, _extents.ToArray(), _payload.AsSpan(0, _payloadBytes));
        _extents.Clear();
        _payloadBytes = 0;
    }

    private void Append(BatchHeader header, ReadOnlySpan<Extent> extents, ReadOnlySpan<byte> payload)
    {
        var batch = BatchCodec.Encode(header with { Ordinal = ++_ordinal }, extents, payload);
        if (!store.Append(batch)) throw new InvalidDataException("a stream has come between");
        FramePool.Shared.Return(batch.Frame);
    }
}
