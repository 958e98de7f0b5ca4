using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// What a target has said is durable, as a room in front of it remembers it in a file of 64 bytes: magic u32, version u32, boot id (16), epoch i64, incarnation i64, ordinal i64, sequence i64, XxHash3 of
/// the 56 bytes before; little endian. It is written to the page cache, so it survives kill -9: a bound that is exact in the boot in which it was written, and may be an old one after that.
/// </summary>
internal readonly record struct DurableMark(Guid BootId, Epoch Epoch, StreamPosition Position, Sequence Sequence)
{
    private const int Bytes = 64, Version = 1;

    internal void WriteTo(IBlockFile file, uint magic)
    {
        Span<byte> mark = stackalloc byte[Bytes];
        Fill(mark, magic);
        file.Write(0, mark);
    }

    internal byte[] ToBytes(uint magic)
    {
        var mark = new byte[Bytes];
        Fill(mark, magic);
        return mark;
    }

    private void Fill(Span<byte> mark, uint magic)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(mark, magic);
        BinaryPrimitives.WriteInt32LittleEndian(mark[4..], Version);
        BootId.TryWriteBytes(mark[8..]);
        BinaryPrimitives.WriteInt64LittleEndian(mark[24..], Epoch.Value);
        BinaryPrimitives.WriteInt64LittleEndian(mark[32..], Position.Incarnation);
        BinaryPrimitives.WriteInt64LittleEndian(mark[40..], Position.Ordinal);
        BinaryPrimitives.WriteInt64LittleEndian(mark[48..], Sequence.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(mark[56..], XxHash3.HashToUInt64(mark[..56]));
    }

    /// <summary>Null: it is none, or damaged.</summary>
    internal static DurableMark? TryParse(ReadOnlySpan<byte> mark, uint magic) =>
        mark.Length == Bytes && XxHash3.HashToUInt64(mark[..56]) == BinaryPrimitives.ReadUInt64LittleEndian(mark[56..]) && BinaryPrimitives.ReadUInt32LittleEndian(mark) == magic && BinaryPrimitives.ReadInt32LittleEndian(mark[4..]) == Version
            && BinaryPrimitives.ReadInt64LittleEndian(mark[24..]) is >= 0 and <= int.MaxValue and var epoch
            ? new DurableMark(new Guid(mark[8..24]), new Epoch((int)epoch),
                new StreamPosition(BinaryPrimitives.ReadInt64LittleEndian(mark[32..]), BinaryPrimitives.ReadInt64LittleEndian(mark[40..])), new Sequence(BinaryPrimitives.ReadInt64LittleEndian(mark[48..])))
            : null;
}
