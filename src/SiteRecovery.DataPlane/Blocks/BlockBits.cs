using System.Numerics;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>One bit per block, mirrored into a file area of whole pages. A bit that reads as set is already in the page cache: it survives kill -9.</summary>
internal sealed class BlockBits(IBlockFile? file, long areaOffset, long blocks)
{
    private const int WordsAtOnce = 64, PageBytes = 4096;
    private readonly ulong[] _words = new ulong[(blocks + 63) / 64];
    private readonly Lock _gate = new();
    private long _count;
    private bool _behind; // under _gate: the file lacks bits that count

    public long Blocks => blocks;

    /// <summary>A bit that is set counts though the file did not take it, and goes along with the next change; without this it is not set then.</summary>
    public bool CountsUnwritten { get; init; }

    public bool this[long block] => (Volatile.Read(ref _words[block >> 6]) >> (int)(block & 63) & 1) != 0;

    public long Count => Volatile.Read(ref _count);
    public bool None => Count == 0;

    public void Load()
    {
        lock (_gate)
        {
            file?.Read(areaOffset, MemoryMarshal.AsBytes(_words.AsSpan()));
            MaskTail();
            Recount();
        }
    }

    public void Set(long first, long last)
    {
        for (var word = first >> 6; word <= last >> 6; word++)
        {
            var mask = MaskOf(word, first, last);
            if ((Volatile.Read(ref _words[word]) & mask) == mask && !Volatile.Read(ref _behind)) continue;
            Change(word << 6 > first ? word << 6 : first, last, true);
            return;
        }
    }

    public void Clear(long first, long last)
    {
        if (Any(first, last)) Change(first, last, false);
    }

    private void Change(long first, long last, bool on)
    {
        Span<ulong> changed = stackalloc ulong[WordsAtOnce];
        lock (_gate)
        {
            if (on && CountsUnwritten)
            {
                // All of them, before the file says that it does not take the first.
                for (var word = first >> 6; word <= last >> 6; word++) Take(word, [_words[word] | MaskOf(word, first, last)]);
                Write(first >> 6, _words.AsSpan((int)(first >> 6), (int)((last >> 6) - (first >> 6) + 1)));
                return;
            }
            for (var from = first >> 6; from <= last >> 6; from += WordsAtOnce)
            {
                var count = (int)Math.Min(WordsAtOnce, (last >> 6) - from + 1);
                for (var i = 0; i < count; i++)
                {
                    var mask = MaskOf(from + i, first, last);
                    changed[i] = on ? _words[from + i] | mask : _words[from + i] & ~mask;
                }
                // The file first: who sees the bit in memory may rely on the file.
                Write(from, changed[..count]);
                Take(from, changed[..count]);
            }
        }
    }

    private void Take(long from, ReadOnlySpan<ulong> changed)
    {
        for (var i = 0; i < changed.Length; i++)
        {
            _count += BitOperations.PopCount(changed[i]) - BitOperations.PopCount(_words[from + i]);
            Volatile.Write(ref _words[from + i], changed[i]);
        }
    }

    private void Write(long from, ReadOnlySpan<ulong> words)
    {
        if (_behind && words.Length < _words.Length) WriteFile(0, MemoryMarshal.AsBytes(_words.AsSpan()));
        Volatile.Write(ref _behind, CountsUnwritten);
        WriteFile(from * 8, MemoryMarshal.AsBytes(words));
        Volatile.Write(ref _behind, false);
    }

    private void WriteFile(long at, ReadOnlySpan<byte> bytes)
    {
        if (file is null) return;
        try
        {
            file.Write(areaOffset + at, bytes);
        }
        catch (IOException failed) when (DiskFailure.IsUnreadable(failed))
        {
            // A page that is changed in part is read first. Everything that was in it is known here, and written as a whole it lies somewhere else than on the bad sector.
            long first = at / PageBytes * PageBytes, last = (at + bytes.Length + PageBytes - 1) / PageBytes * PageBytes;
            var pages = new byte[last - first];
            MemoryMarshal.AsBytes(_words.AsSpan())[(int)first..(int)Math.Min(last, 8L * _words.Length)].CopyTo(pages);
            bytes.CopyTo(pages.AsSpan((int)(at - first)));
            file.Write(areaOffset + first, pages);
        }
    }

    public void SetAll()
    {
        lock (_gate)
        {
            _words.AsSpan().Fill(ulong.MaxValue);
            MaskTail();
            _count = blocks;
            Write(0, _words);
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
            _count = 0;
            Write(first, _words.AsSpan(first, last - first + 1));
        }
    }

    /// <summary>Writes the whole area, so that the file system has room for it from then on.</summary>
    public void WriteAll()
    {
        lock (_gate) Write(0, _words);
    }

    /// <summary>Every bit that counts is on file when it returns.</summary>
    public void CatchUp()
    {
        lock (_gate)
            if (_behind) Write(0, _words);
    }

    public void Include(BlockBits other)
    {
        lock (_gate)
        {
            for (var i = 0; i < _words.Length; i++) _words[i] |= Volatile.Read(ref other._words[i]);
            Recount();
            Write(0, _words);
        }
    }

    /// <summary>Sets bit n for every word n of <paramref name="finer"/> that has a bit.</summary>
    public void IncludeWordsOf(BlockBits finer)
    {
        for (var i = finer._words.AsSpan().IndexOfAnyExcept(0UL); i >= 0 && i < finer._words.Length; i++)
            if (Volatile.Read(ref finer._words[i]) != 0) Set(i, i);
    }

    public bool Any(long first, long last)
    {
        for (var word = first >> 6; word <= last >> 6; word++)
            if ((Volatile.Read(ref _words[word]) & MaskOf(word, first, last)) != 0) return true;
        return false;
    }

    /// <summary>First block at or after <paramref name="from"/> that is set here and not in <paramref name="except"/>, or -1.</summary>
    public long Next(long from, BlockBits except)
    {
        if (from >= blocks) return -1;
        for (var word = from >> 6; word < _words.Length; word++)
        {
            var left = Volatile.Read(ref _words[word]) & ~Volatile.Read(ref except._words[word]) & MaskOf(word, from, blocks - 1);
            if (left != 0) return (word << 6) + BitOperations.TrailingZeroCount(left);
        }
        return -1;
    }

    /// <summary>First block at or after <paramref name="from"/> that is set, or -1.</summary>
    public long Next(long from)
    {
        if (from >= blocks) return -1;
        for (var word = from >> 6; word < _words.Length; word++)
        {
            var left = Volatile.Read(ref _words[word]) & MaskOf(word, from, blocks - 1);
            if (left != 0) return (word << 6) + BitOperations.TrailingZeroCount(left);
        }
        return -1;
    }

    /// <summary>The bits of a word that belong to blocks from <paramref name="first"/> to <paramref name="last"/>.</summary>
    private static ulong MaskOf(long word, long first, long last)
    {
        var mask = ulong.MaxValue;
        if (word == first >> 6) mask &= ulong.MaxValue << (int)(first & 63);
        if (word == last >> 6) mask &= ulong.MaxValue >> (int)(63 - (last & 63));
        return mask;
    }

    private void MaskTail()
    {
        if ((blocks & 63) != 0) _words[^1] &= (1UL << (int)(blocks & 63)) - 1;
    }

    private void Recount()
    {
        long count = 0;
        foreach (var word in _words) count += BitOperations.PopCount(word);
        _count = count;
    }
}
