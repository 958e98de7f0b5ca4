using System.IO.Hashing;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Blocks;

/// <summary>
/// The leaves of a <see cref="RootHash"/> in a file, behind a page that is its owner's: per disk pages of 4096 bytes, each 511 leaves and the XxHash3 of them (0 for zeroes), or
/// 508 leaves that are encrypted and what they need to be decrypted. Not safe for concurrent calls.
/// </summary>
internal sealed class LeafFile : IDisposable
{
    internal const int PageBytes = 4096;
    private readonly ICipher? _cipher;
    private readonly int _leavesPerPage;
    private readonly IReadOnlyList<(ushort Index, long SizeBytes)> _disks;
    private readonly ulong[] _page = new ulong[PageBytes / 8];
    private long _at = -1; // which page is in memory
    private bool _changed;

    /// <summary>Makes the file as long as it has to be.</summary>
    /// <param name="cipher">Null: they are not encrypted.</param>
    internal LeafFile(IBlockFile file, IEnumerable<(ushort Index, long SizeBytes)> disks, ICipher? cipher = null)
    {
        (_cipher, _leavesPerPage) = (cipher, PageBytes / 8 - (cipher is null ? 1 : ICipher.SealBytes / 8));
        (File, _disks) = (file, [.. disks.OrderBy(d => d.Index)]);
        var bytes = PageBytes * (1 + _disks.Sum(d => PagesOf(d.SizeBytes)));
        if (file.LengthBytes == bytes) return;
        (IsNew, var old) = (true, file.LengthBytes);
        if (old > 0) file.SetLength(0);
        file.SetLength(bytes);
    }

    internal IBlockFile File { get; }
    internal bool IsNew { get; }
    private int LeafBytes => _leavesPerPage * 8;

    /// <summary>Pages that are damaged are taken for pages of zeroes: every leaf is about to be made.</summary>
    internal bool IsBeingMade { get; set; }

    /// <exception cref="InvalidDataException">The page that it is on is damaged.</exception>
    internal void Set(ushort disk, long block, ulong leaf)
    {
        Load(disk, block / _leavesPerPage);
        _page[block % _leavesPerPage] = leaf;
        // Written also where it reads so already: after a flush that failed that may be in the cache alone.
        _changed = true;
    }

    /// <summary>Durable when it returns.</summary>
    internal void Flush()
    {
        Store();
        File.Flush();
    }

    /// <summary>What is in memory and not in the file is not wanted.</summary>
    internal void Drop() => (_at, _changed) = (-1, false);

    /// <summary>Of the leaves as they are.</summary>
    /// <exception cref="InvalidDataException">A page is damaged.</exception>
    internal string Root()
    {
        using var root = new RootHash();
        foreach (var (index, size) in _disks)
        {
            root.AddDisk(index, size);
            for (long left = RootHash.BlocksOf(size), page = 0; left > 0; left -= _leavesPerPage, page++)
            {
                Load(index, page);
                root.AddLeaves(_page.AsSpan(0, (int)Math.Min(left, _leavesPerPage)));
            }
        }
        return root.Finish();
    }

    public void Dispose() => File.Dispose();

    private long PagesOf(long sizeBytes) => (RootHash.BlocksOf(sizeBytes) + _leavesPerPage - 1) / _leavesPerPage;

    private void Load(ushort disk, long page)
    {
        var at = PageBytes * (1 + page + _disks.TakeWhile(d => d.Index != disk).Sum(d => PagesOf(d.SizeBytes)));
        if (at == _at) return;
        Store();
        _at = -1;
        var bytes = MemoryMarshal.AsBytes(_page.AsSpan());
        if (!TryRead(at, bytes))
        {
            if (!IsBeingMade) throw new InvalidDataException($"the leaves of the root hash are damaged at {at}");
            bytes.Clear();
            _changed = true; // also where zeroes are what it should be
        }
        _at = at;
    }

    private void Store()
    {
        if (!_changed) return;
        var bytes = MemoryMarshal.AsBytes(_page.AsSpan());
        if (_cipher is null)
        {
            _page[_leavesPerPage] = HashOf(bytes);
            File.Write(_at, bytes);
        }
        else
        {
            Span<byte> encrypted = stackalloc byte[PageBytes];
            bytes.CopyTo(encrypted);
            _cipher.Encrypt(Known(_at), encrypted[..LeafBytes], encrypted[LeafBytes..]);
            File.Write(_at, encrypted);
        }
        _changed = false;
    }

    /// <summary>A page that the disk does not give is damaged, too: they can be made again, and only so it can be read again.</summary>
    private bool TryRead(long at, Span<byte> page)
    {
        try
        {
            File.Read(at, page);
        }
        catch (IOException)
        {
            return false;
        }
        return TryOpen(at, page);
    }

    private bool TryOpen(long at, Span<byte> page)
    {
        if (_cipher is null) return HashOf(page) == _page[_leavesPerPage];
        if (!page.ContainsAnyExcept((byte)0)) return true;
        try
        {
            _cipher.Decrypt(Known(at), page[..LeafBytes], page[LeafBytes..]);
            return true;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private static ReadOnlySpan<byte> Known(long at) => BitConverter.GetBytes(at);

    // A page that was never written is a page of zeroes, and right.
    private ulong HashOf(ReadOnlySpan<byte> page) => page[..LeafBytes].ContainsAnyExcept((byte)0) ? XxHash3.HashToUInt64(page[..LeafBytes]) : 0;
}
