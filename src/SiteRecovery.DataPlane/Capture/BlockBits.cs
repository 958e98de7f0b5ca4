using System.Numerics;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>One bit per block, mirrored into a file area. A bit that reads as set is already in the page cache: it survives kill -9.</summary>
internal sealed class BlockBits(IBlockFile? file, long areaOffset, long blocks)
{
    private readonly ulong[] _words = new ulong[(blocks + 63) / 64];
    private readonly Lock _gate = new();

    public long Blocks => blocks;
    public int WordCount => _words.Length;

    public bool this[long block] => (Volatile.Read(ref _words[block >> 6]) >> (int)(block & 63) & 1) != 0;

    public void Load()
    {
        lock (_gate) file?.Read(areaOffset, MemoryMarshal.AsBytes(_words.AsSpan()));
        MaskTail();
    }

    public void Set(long first, long last)
    {
        for (var block = first; block <= last; block++)
            if (!this[block]) Change(block, true);
    }

    public void Clear(long block)
    {
        if (this[block]) Change(block, false);
    }

    private void Change(long block, bool on)
    {
        lock (_gate)
        {
            var word = _words[block >> 6];
            word = on ? word | 1UL << (int)(block & 63) : word & ~(1UL << (int)(block & 63));
            // The file first: who sees the bit in memory may rely on the file.
            file?.Write(areaOffset + (block >> 6) * 8, MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in word)));
            Volatile.Write(ref _words[block >> 6], word);
        }
    }

    public void SetAll()
    {
        lock (_gate)
        {
            _words.AsSpan().Fill(ulong.MaxValue);
            MaskTail();
            file?.Write(areaOffset, MemoryMarshal.AsBytes(_words.AsSpan()));
        }
    }

    public void ClearAll()
    {
        lock (_gate)
        {
            var first = _words.AsSpan().IndexOfAnyExcept(0UL);
            if (first < 0) return;
            var last = _words.AsSpan().LastIndexOfAnyExcept(0UL);
            _words.AsSpan(first, last - first + 1).Clear();
            file?.Write(areaOffset + first * 8L, MemoryMarshal.AsBytes(_words.AsSpan(first, last - first + 1)));
        }
    }

    public void Include(BlockBits other)
    {
        lock (_gate)
        {
            for (var i = 0; i < _words.Length; i++) _words[i] |= Volatile.Read(ref other._words[i]);
            file?.Write(areaOffset, MemoryMarshal.AsBytes(_words.AsSpan()));
        }
    }

    public bool Any(long first, long last)
    {
        for (var block = first; block <= last; block++)
        {
            if ((block & 63) == 0 && block + 63 <= last && Volatile.Read(ref _words[block >> 6]) == 0) block += 63;
            else if (this[block]) return true;
        }
        return false;
    }

    public bool None => _words.AsSpan().IndexOfAnyExcept(0UL) < 0;

    public long Count()
    {
        long count = 0;
        for (var i = 0; i < _words.Length; i++) count += BitOperations.PopCount(Volatile.Read(ref _words[i]));
        return count;
    }

    /// <summary>First block at or after <paramref name="from"/> that is set here and not in <paramref name="except"/>, or -1.</summary>
    public long Next(long from, BlockBits except)
    {
        for (var block = from; block < blocks; block++)
        {
            if ((block & 63) == 0 && (Volatile.Read(ref _words[block >> 6]) & ~Volatile.Read(ref except._words[block >> 6])) == 0) block += 63;
            else if (this[block] && !except[block]) return block;
        }
        return -1;
    }

    private void MaskTail()
    {
        if ((blocks & 63) != 0) _words[^1] &= (1UL << (int)(blocks & 63)) - 1;
    }
}
