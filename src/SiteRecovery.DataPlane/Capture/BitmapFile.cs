using SiteRecovery.DataPlane.Blocks;
using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>What a disk's replica may lack, kept beside the disk as BITMAP.md describes.</summary>
internal sealed class BitmapFile : IDisposable
{
    public const int BlockBytes = 64 << 10;
    public const int RegionBytes = 4 << 20;
    private const int NoteAt = 512, NoteBytes = 16; // in a sector of its own: one that is cut short costs nothing of the header
    private const int Page = 4096, BlocksPerRegion = RegionBytes / BlockBytes, Version = 1, ActiveRegionsKept = 1024, RegionsAhead = 8;
    private const uint Magic = 0x4D425253; // "SRBM"
    private readonly IBlockFile _file;
    private readonly long _diskBytes;
    private readonly BlockBits _wanted, _active, _recent;
    private readonly BlockBits[] _streamed;
    private readonly Lock _activation = new();
    private int _current;
    private bool _doubtful; // under _activation

    private BitmapFile(IBlockFile file, long diskBytes)
    {
        (_file, _diskBytes) = (file, diskBytes);
        var blocks = Math.Max(1, (diskBytes + BlockBytes - 1) / BlockBytes);
        var regions = (blocks + BlocksPerRegion - 1) / BlocksPerRegion;
        long bits = Pages(blocks), at = Page + Pages(regions);
        _wanted = new BlockBits(file, Page, regions);
        _active = new BlockBits(null, 0, regions);
        _recent = new BlockBits(null, 0, regions);
        // What is not on file of it is there as streamed.
        Unsynced = new BlockBits(file, at, blocks) { CountsUnwritten = true };
        _streamed = [new BlockBits(file, at + bits, blocks), new BlockBits(file, at + 2 * bits, blocks)];
        FileBytes = at + 3 * bits;
    }

    private long FileBytes { get; }
    public BlockBits Unsynced { get; }
    public BlockBits Current => _streamed[Volatile.Read(ref _current)];
    public BlockBits Previous => _streamed[1 - Volatile.Read(ref _current)];
    /// <summary>Why everything had to be taken as unsynced, or null.</summary>
    public string? LostReason { get; private set; }

    /// <summary>A flush of the disk has failed in this boot of the host, and whoever saw it could perhaps say so nowhere else. Conservative: also where that cannot be read.</summary>
    internal bool FlushHasFailed { get; private set; }

    /// <param name="startsClean">A file that is not there yet is made with no bit set: the replica is known to be complete.</param>
    /// <param name="beginsAnew">What it says was of another protection: of these disks nothing is known.</param>
    public static BitmapFile Open(IFileSystem files, string path, long diskBytes, Guid bootId, bool startsClean = false, bool beginsAnew = false)
    {
        var existed = files.Exists(path);
        var bitmap = new BitmapFile(files.Open(path, FileOpening.Create), diskBytes);
        try
        {
            bitmap.Begin(existed, bootId, startsClean, beginsAnew);
            files.FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
            return bitmap;
        }
        catch
        {
            bitmap.Dispose();
            throw;
        }
    }

    private void Begin(bool existed, Guid bootId, bool startsClean, bool beginsAnew)
    {
        FlushHasFailed = existed && HasNote(_file, bootId);
        if (!existed && startsClean) _file.SetLength(FileBytes);
        else if (!existed) Start("there is no bitmap file");
        else if (beginsAnew) Start("the bitmap file was of another protection");
        else if (WhyLost(out var storedBoot) is { } reason) Start(reason);
        else Resume(storedBoot == bootId && bootId != Guid.Empty); // no boot id is like no other
        _doubtful = existed; // of what a process before could not flush nobody knows any more
        Flush();
        WriteHeader(bootId);
        if (FlushHasFailed) WriteNote(_file, bootId);
        _file.Flush();
    }

    /// <summary>A flush of the disk has failed. To the page cache, which outlives the process as long as what the disk only shows.</summary>
    internal void NoteFailedFlush(Guid bootId)
    {
        FlushHasFailed = true;
        WriteNote(_file, bootId);
    }

    internal void ForgetFailedFlush()
    {
        if (!FlushHasFailed) return;
        WriteNote(_file, Guid.Empty);
        FlushHasFailed = false;
    }

    /// <summary>The same of the bitmaps in a folder that nobody has open, where that can be.</summary>
    internal static void NoteFailedFlush(IFileSystem files, string folder, Guid bootId)
    {
        foreach (var path in PathsIn(files, folder))
        {
            try
            {
                using var file = files.Open(path, FileOpening.ReadWrite);
                WriteNote(file, bootId);
            }
            catch (Exception unnoted) when (unnoted is IOException or UnauthorizedAccessException)
            {
                // capture.json says it then, or nobody.
            }
        }
    }

    internal static bool HasNotedFailedFlush(IFileSystem files, string folder, Guid bootId)
    {
        foreach (var path in PathsIn(files, folder))
        {
            using var file = files.Open(path, FileOpening.Read);
            if (HasNote(file, bootId)) return true;
        }
        return false;
    }

    private static IEnumerable<string> PathsIn(IFileSystem files, string folder) => files.List(folder).Where(f => f.EndsWith(".bitmap", StringComparison.Ordinal));

    private static bool HasNote(IBlockFile file, Guid bootId)
    {
        var note = (stackalloc byte[NoteBytes]);
        try
        {
            if (file.LengthBytes < NoteAt + NoteBytes) return false;
            file.Read(NoteAt, note);
        }
        catch (IOException)
        {
            return true;
        }
        return bootId != Guid.Empty && new Guid(note) == bootId;
    }

    private static void WriteNote(IBlockFile file, Guid bootId)
    {
        var note = (stackalloc byte[NoteBytes]);
        bootId.TryWriteBytes(note);
        file.Write(NoteAt, note);
    }

    /// <summary>Null: what it says is loaded. A bad sector in it must not keep a machine from its disks: everything is compared instead.</summary>
    private string? WhyLost(out Guid storedBoot)
    {
        storedBoot = default;
        try
        {
            if (ReadHeader() is not { } boot) return "the bitmap file is damaged";
            storedBoot = boot;
            _wanted.Load();
            Unsynced.Load();
            foreach (var bits in _streamed) bits.Load();
            return null;
        }
        catch (IOException unreadable)
        {
            return $"the bitmap file cannot be read: {unreadable.Message}";
        }
    }

    private void Start(string reason)
    {
        LostReason = reason;
        _file.SetLength(0);
        _file.SetLength(FileBytes);
        Unsynced.SetAll();
        // Nothing else is known, so that a power loss before the first sync must find every region active.
        _wanted.SetAll();
        _active.SetAll();
        foreach (var bits in _streamed)
        {
            bits.ClearAll(); // of what was loaded half nothing counts, and what is set already would not be counted again
            bits.WriteAll();
        }
    }

    private void Resume(bool sameBoot)
    {
        if (!sameBoot)
            for (var region = _wanted.Next(0, _active); region >= 0; region = _wanted.Next(region + 1, _active))
                Unsynced.Set(region * BlocksPerRegion, Math.Min((region + 1) * BlocksPerRegion, Unsynced.Blocks) - 1);
        Fold();
        foreach (var bits in _streamed) bits.ClearAll();
        _active.Include(_wanted);
    }

    /// <summary>What is not known to be durable at the target counts as unsynced from here on.</summary>
    public void Fold()
    {
        foreach (var bits in _streamed)
            if (!bits.None) Unsynced.Include(bits);
    }

    /// <summary>Before a write: the block's bit in the page cache, its region durably active.</summary>
    public void Mark(long offset, long length)
    {
        long first = offset / BlockBytes, last = (offset + length - 1) / BlockBytes, lastRegion = last / BlocksPerRegion;
        Current.Set(first, last);
        // The bit is set before the region is looked at; RetireRegions does it the other way round, so that one of both notices.
        Interlocked.MemoryBarrier();
        for (var region = first / BlocksPerRegion; region <= lastRegion; region++)
            if (!_active[region]) Activate(region, lastRegion);
    }

    /// <summary>With the regions that follow, which a guest is likely to write next, and all of the write's: it waits for one flush, however long it is. Writes that wait here share one.</summary>
    private void Activate(long region, long lastOfWrite)
    {
        var last = Math.Min(Math.Max(region + RegionsAhead, lastOfWrite + 1), _wanted.Blocks) - 1;
        _wanted.Set(region, last);
        lock (_activation)
        {
            if (_active[region]) return; // whoever held the lock before wrote ours along
            _wanted.Set(region, last); // unless it was Retire
            var wanted = new BlockBits(null, 0, _wanted.Blocks);
            wanted.Include(_wanted);
            FlushAll();
            _active.Include(wanted);
        }
    }

    public void Rotate() => Volatile.Write(ref _current, 1 - _current);

    /// <summary>What was streamed before the last rotation is durable at the target.</summary>
    public void ForgetPrevious()
    {
        Unsynced.CatchUp();
        _recent.IncludeWordsOf(Previous); // a word of blocks is a region
        Previous.ClearAll();
    }

    /// <summary>There are regions that <see cref="RetireRegions"/> would forget now. The pump's only, as what follows.</summary>
    public bool HasQuietRegions => _active.Count > ActiveRegionsKept && NextQuiet(0) >= 0;

    /// <summary>
    /// Forgets regions without any bit that nobody wrote to since the last round, so that a power loss costs little to check. Whoever calls it has flushed the disk since that round: a guest that never does would lose with
    /// its power what the target has. What was written since the flush began has a bit, or has had one in this round.
    /// </summary>
    public void RetireRegions()
    {
        if (_active.Count > ActiveRegionsKept)
            for (var region = NextQuiet(0); region >= 0; region = NextQuiet(region + 1)) Retire(region);
        EndRound();
    }

    /// <summary>From here on it is counted anew who was written to.</summary>
    public void EndRound() => _recent.ClearAll();

    private long NextQuiet(long from)
    {
        var region = _active.Next(from, _recent);
        while (region >= 0 && HasBits(region)) region = _active.Next(region + 1, _recent);
        return region;
    }

    private void Retire(long region)
    {
        lock (_activation)
        {
            _active.Clear(region, region);
            Interlocked.MemoryBarrier();
            // A write that came between may have seen the region as active.
            if (HasBits(region)) _active.Set(region, region);
            else _wanted.Clear(region, region);
        }
    }

    private bool HasBits(long region)
    {
        long first = region * BlocksPerRegion, last = Math.Min(first + BlocksPerRegion, Unsynced.Blocks) - 1;
        return Unsynced.Any(first, last) || _streamed[0].Any(first, last) || _streamed[1].Any(first, last);
    }

    private Guid? ReadHeader()
    {
        Span<byte> header = stackalloc byte[56];
        _file.Read(0, header);
        if (_file.LengthBytes != FileBytes || BinaryPrimitives.ReadUInt32LittleEndian(header) != Magic || BinaryPrimitives.ReadInt32LittleEndian(header[4..]) != Version) return null;
        if (XxHash3.HashToUInt64(header[..48]) != BinaryPrimitives.ReadUInt64LittleEndian(header[48..])) return null;
        if (BinaryPrimitives.ReadInt64LittleEndian(header[8..]) != _diskBytes || BinaryPrimitives.ReadInt32LittleEndian(header[16..]) != BlockBytes) return null;
        return new Guid(header[24..40]);
    }

    private void WriteHeader(Guid bootId)
    {
        Span<byte> header = stackalloc byte[56];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], _diskBytes);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], BlockBytes);
        BinaryPrimitives.WriteInt32LittleEndian(header[20..], RegionBytes);
        bootId.TryWriteBytes(header[24..]);
        BinaryPrimitives.WriteUInt64LittleEndian(header[48..], XxHash3.HashToUInt64(header[..48]));
        _file.Write(0, header);
    }

    private static long Pages(long bits) => (bits + 8L * Page - 1) / (8L * Page) * Page;

    /// <summary>Also the bits that were set without a write through <see cref="Mark"/>.</summary>
    public void Flush()
    {
        lock (_activation) FlushAll();
    }

    /// <summary>What a flush that failed has left on the disk nobody knows, and the next one does not say: all of it is written again.</summary>
    private void FlushAll()
    {
        if (_doubtful)
            foreach (var bits in (ReadOnlySpan<BlockBits>)[_wanted, Unsynced, .. _streamed]) bits.WriteAll();
        _doubtful = true;
        _file.Flush();
        _doubtful = false;
    }

    public void Dispose() => _file.Dispose();
}
