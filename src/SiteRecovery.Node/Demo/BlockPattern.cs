using System.Buffers.Binary;
using System.Security.Cryptography;

namespace SiteRecovery.Node.Demo;

/// <summary>What the demo's writer writes: every 4 KiB block is a function of (seed, write number), write 0 being the disk's first content.</summary>
public static class BlockPattern
{
    public const int BlockBytes = 4096;

    public static void Fill(Span<byte> block, int seed, long write, long offset)
    {
        var state = (ulong)seed * 0x9E3779B97F4A7C15 ^ (ulong)write * 0xBF58476D1CE4E5B9 ^ (ulong)offset;
        for (var at = 0; at < block.Length; at += 8)
        {
            state += 0x9E3779B97F4A7C15;
            var mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
            mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
            BinaryPrimitives.WriteUInt64LittleEndian(block[at..], mixed ^ (mixed >> 31));
        }
        BinaryPrimitives.WriteInt64LittleEndian(block, write);
    }

    public static string Hash(ReadOnlySpan<byte> block) => Convert.ToHexStringLower(SHA256.HashData(block));

    /// <summary>Where write number <paramref name="write"/> goes: a hot tenth of the disk takes half of the writes.</summary>
    public static long OffsetOf(int seed, long write, long diskBytes)
    {
        var blocks = diskBytes / BlockBytes;
        var mixed = ((ulong)seed + 1) * 0x9E3779B97F4A7C15 ^ (ulong)write * 0x94D049BB133111EB;
        mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9;
        mixed ^= mixed >> 32;
        var range = (mixed & 1) == 0 ? Math.Max(1, blocks / 10) : blocks;
        return (long)(mixed >> 1) % range * BlockBytes;
    }
}
