using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// One hash over all disks of a machine, the same on whichever side it is computed: SHA-256 over, for each disk in the order of its
/// index, index u16, size i64 and the leaf of every 64 KiB block: its XxHash3, 0 for a block of zeroes (little endian). Whoever keeps the leaves
/// needs to read only what has changed.
/// </summary>
public sealed class RootHash : IDisposable
{
    public const int BlockBytes = 64 << 10;
    private const int BlocksAtOnce = 16;
    private readonly IncrementalHash _root = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <summary>Reads all of the disks but their holes.</summary>
    /// <returns>64 lower-case hex digits.</returns>
    public static async Task<string> OfAsync(IEnumerable<(ushort Index, IBlockDevice Device)> disks, CancellationToken stop)
    {
        using var root = new RootHash();
        var buffer = new byte[BlockBytes * BlocksAtOnce];
        foreach (var (index, device) in disks.OrderBy(d => d.Index))
        {
            root.AddDisk(index, device.SizeBytes);
            for (long offset = 0; offset < device.SizeBytes; offset += buffer.Length)
            {
                stop.ThrowIfCancellationRequested();
                var part = buffer.AsMemory(0, (int)Math.Min(buffer.Length, device.SizeBytes - offset));
                if (await IsHoleAsync(device, offset, part.Length, stop).ConfigureAwait(false)) part.Span.Clear();
                else await device.ReadAsync(offset, part, stop).ConfigureAwait(false);
                root.AddContent(part.Span);
            }
        }
        return root.Finish();
    }

    public static long BlocksOf(long sizeBytes) => (sizeBytes + BlockBytes - 1) / BlockBytes;

    /// <param name="block">One block; the last of a disk may be shorter.</param>
    public static ulong LeafOf(ReadOnlySpan<byte> block) => block.ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(block) : 0;

    /// <summary>Its leaves follow, all of them, before the next disk.</summary>
    public void AddDisk(ushort index, long sizeBytes)
    {
        Span<byte> head = stackalloc byte[10];
        BinaryPrimitives.WriteUInt16LittleEndian(head, index);
        BinaryPrimitives.WriteInt64LittleEndian(head[2..], sizeBytes);
        _root.AppendData(head);
    }

    /// <summary>Whole blocks, or up to the end of the disk.</summary>
    public void AddContent(ReadOnlySpan<byte> part)
    {
        for (var at = 0; at < part.Length; at += BlockBytes) AddLeaves([LeafOf(part.Slice(at, Math.Min(BlockBytes, part.Length - at)))]);
    }

    public void AddLeaves(ReadOnlySpan<ulong> leaves)
    {
        if (!BitConverter.IsLittleEndian) throw new PlatformNotSupportedException("the root hash is little endian");
        _root.AppendData(MemoryMarshal.AsBytes(leaves));
    }

    public string Finish() => Convert.ToHexStringLower(_root.GetHashAndReset());

    public void Dispose() => _root.Dispose();

    private static async ValueTask<bool> IsHoleAsync(IBlockDevice device, long offset, int length, CancellationToken stop)
    {
        var status = await device.StatusAsync(offset, length, stop).ConfigureAwait(false);
        return status is [{ Zero: true } only] && only.Length >= length;
    }
}
