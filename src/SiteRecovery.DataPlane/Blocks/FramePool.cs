namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// Arrays for the frames of large batches, used again and again: a fresh megabyte costs more to map, clear and collect than to fill.
/// Who rents an array gives it back once nobody reads it any more, or leaves it to the garbage collector.
/// </summary>
internal sealed class FramePool
{
    /// <summary>What capture makes of 1 MiB of data fits.</summary>
    private const int ArrayBytes = (1 << 20) + BatchCodec.HeaderBytes + 512 * BatchCodec.ExtentBytes;
    private const int SmallestBytes = 80 << 10, ArraysKept = 32;
    private readonly Stack<byte[]> _free = new(ArraysKept);

    public static FramePool Shared { get; } = new();

    /// <returns>An array of at least that many bytes, with anything in it.</returns>
    public byte[] Rent(int bytes)
    {
        if (bytes is < SmallestBytes or > ArrayBytes) return GC.AllocateUninitializedArray<byte>(bytes);
        lock (_free)
            if (_free.TryPop(out var array)) return array;
        return GC.AllocateUninitializedArray<byte>(ArrayBytes);
    }

    public void Return(byte[] array)
    {
        if (array.Length != ArrayBytes) return;
        lock (_free)
            if (_free.Count < ArraysKept) _free.Push(array);
    }

    /// <summary>Gives back the array of a frame that was rented here.</summary>
    public void Return(ReadOnlyMemory<byte> frame)
    {
        if (System.Runtime.InteropServices.MemoryMarshal.TryGetArray(frame, out var segment) && segment.Array is { } array) Return(array);
    }
}
