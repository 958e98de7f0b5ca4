using System.Buffers.Binary;
using System.Numerics;

namespace SiteRecovery.Node.Demo.Guest;

/// <summary>
/// What the guest writes: one sector each, in chunks of 64 that lie scattered over the disk. Little-endian doubles: magic, number from 1 on, life of the writer, and what follows from
/// these two by a sequence, so that every byte of every record can be told in advance.
/// </summary>
public static class GuestRecord
{
    public const int Bytes = 512, ChunkRecords = 64, Chunks = 2048, ChunkStep = 1021, FirstSector = 64, RecordsMax = Chunks * ChunkRecords;
    public const uint Magic = 0x4D565253, Factor = 1664525, Addend = 1013904223; // "SRVM"; the sequence is that of Numerical Recipes
    public const long DiskBytes = 128L << 20;

    /// <summary>Chunks follow each other by an odd step, so that each is met once.</summary>
    public static long OffsetOf(long number) => (FirstSector + (number - 1) / ChunkRecords * ChunkStep % Chunks * ChunkRecords + (number - 1) % ChunkRecords) * Bytes;

    public static void Fill(Span<byte> into, uint number, uint life)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(into, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(into[4..], number);
        BinaryPrimitives.WriteUInt32LittleEndian(into[8..], life);
        var x = number + BitOperations.RotateLeft(life, 16);
        for (var at = 12; at < Bytes; at += 4)
        {
            x = x * Factor + Addend;
            BinaryPrimitives.WriteUInt32LittleEndian(into[at..], x);
        }
    }

    /// <summary>The life that wrote this record; null where this is not record <paramref name="number"/>, whole and right.</summary>
    public static uint? LifeOf(ReadOnlySpan<byte> sector, uint number)
    {
        var life = BinaryPrimitives.ReadUInt32LittleEndian(sector[8..]);
        Span<byte> must = stackalloc byte[Bytes];
        Fill(must, number, life);
        return sector.SequenceEqual(must) ? life : null;
    }

    /// <summary>A disk that boots, and holds no record.</summary>
    public static void WriteDisk(string path)
    {
        using var file = File.Create(path);
        file.SetLength(DiskBytes);
        file.Write(GuestProgram.Sector());
    }
}
