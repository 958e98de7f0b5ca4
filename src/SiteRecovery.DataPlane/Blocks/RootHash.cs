using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// One hash over all disks of a machine, the same on whichever side it is computed: SHA-256 over, for each disk in the order of its
/// index, index u16, size i64 and the XxHash3 of every 64 KiB block, 0 for a block of zeroes (little endian). Holes are not read.
/// </summary>
public static class RootHash
{
    public const int BlockBytes = 64 << 10;
    private const int BlocksAtOnce = 16;

    /// <returns>64 lower-case hex digits.</returns>
    public static async Task<string> OfAsync(IEnumerable<(ushort Index, IBlockDevice Device)> disks, CancellationToken stop)
    {
        using var root = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[BlockBytes * BlocksAtOnce];
        foreach (var (index, device) in disks.OrderBy(d => d.Index))
        {
            root.AppendData(HeadOf(index, device.SizeBytes));
            for (long offset = 0; offset < device.SizeBytes; offset += buffer.Length)
            {
                stop.ThrowIfCancellationRequested();
                var part = buffer.AsMemory(0, (int)Math.Min(buffer.Length, device.SizeBytes - offset));
                if (await IsHoleAsync(device, offset, part.Length, stop).ConfigureAwait(false)) part.Span.Clear();
                else await device.ReadAsync(offset, part, stop).ConfigureAwait(false);
                Append(root, part.Span);
            }
        }
        return Convert.ToHexStringLower(root.GetHashAndReset());
    }

    private static async ValueTask<bool> IsHoleAsync(IBlockDevice device, long offset, int length, CancellationToken stop)
    {
        var status = await device.StatusAsync(offset, length, stop).ConfigureAwait(false);
        return status is [{ Zero: true } only] && only.Length >= length;
    }

    private static void Append(IncrementalHash root, ReadOnlySpan<byte> part)
    {
        Span<byte> hash = stackalloc byte[8];
        for (var at = 0; at < part.Length; at += BlockBytes)
        {
            var block = part.Slice(at, Math.Min(BlockBytes, part.Length - at));
            BinaryPrimitives.WriteUInt64LittleEndian(hash, block.ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(block) : 0);
            root.AppendData(hash);
        }
    }

    private static byte[] HeadOf(ushort index, long size)
    {
        var head = new byte[10];
        BinaryPrimitives.WriteUInt16LittleEndian(head, index);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(2), size);
        return head;
    }
}
