using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// Arrays for the frames of large batches, used again and again: a fresh megabyte costs more to map, clear and collect than to fill.
/// Who rents an array gives it back once nobody reads it any more, or leaves it to the garbage collector.
/// </summary>
internal sealed class FramePool
{
    /// <summary>What capture makes of 1 MiB of data fits in a large array, and of a quarter of that in a small one.</summary>
    private const int Overhead = BatchCodec.HeaderBytes + 512 * BatchCodec.ExtentBytes, LargeBytes = (1 << 20) + Overhead, SmallBytes = (256 << 10) + Overhead;
    private const int SmallestBytes = 80 << 10;
    private readonly Shelf _large = new(LargeBytes, 24), _small = new(SmallBytes, 32);

    public static FramePool Shared { get; } = new();

    /// <returns>An array of at least that many bytes, with anything in it.</returns>
    public byte[] Rent(int bytes) => bytes switch
    {
        >= SmallestBytes and <= SmallBytes => _small.Rent(),
        > SmallBytes and <= LargeBytes => _large.Rent(),
        _ => GC.AllocateUninitializedArray<byte>(bytes),
    };

    public void Return(byte[] array)
    {
        if (array.Length == LargeBytes) _large.Return(array);
        else if (array.Length == SmallBytes) _small.Return(array);
    }

    /// <summary>Gives back the array of a frame that was rented here.</summary>
    public void Return(ReadOnlyMemory<byte> frame)
    {
        if (MemoryMarshal.TryGetArray(frame, out var segment) && segment.Array is { } array) Return(array);
    }

    /// <summary>What a frame keeps in memory, which is more than its length where its array is.</summary>
    public static int MemoryOf(ReadOnlyMemory<byte> frame) => MemoryMarshal.TryGetArray(frame, out var segment) && segment.Array is { } array ? array.Length : frame.Length;

    private sealed class Shelf(int arrayBytes, int kept)
    {
        private readonly Stack<byte[]> _free = new(kept);

        public byte[] Rent()
        {
            lock (_free)
                if (_free.TryPop(out var array)) return array;
            return GC.AllocateUninitializedArray<byte>(arrayBytes);
        }

        public void Return(byte[] array)
        {
            lock (_free)
                if (_free.Count < kept) _free.Push(array);
        }
    }
}
