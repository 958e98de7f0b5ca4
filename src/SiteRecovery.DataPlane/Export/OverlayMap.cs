using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Which clusters of an overlay count, and which of them nobody wrote: OVERLAY.md. A bit that counts stays set, so that reading one needs no lock.</summary>
internal sealed class OverlayMap : IDisposable
{
    internal const int ClusterBytes = 4096;
    private const int PageBytes = 4096, HeaderBytes = 48, NoteAt = 512, NoteBytes = 8, Version = 2, FilledMayBeWritten = 1;
    private const uint Magic = 0x564F5253; // "SROV"
    private const byte NoFlushFailed = 0, MapsFlushFailed = 1; // any other value: the data's
    /// <summary>Maps whose disk did not take the note of a failed flush: until it does, this process knows, also when they are opened anew.</summary>
    private static readonly ConditionalWeakTable<IFileSystem, ConcurrentDictionary<string, bool>> Unnoted = [];
    private readonly Lock _gate = new();
    private readonly IBlockFile _file;
    private readonly ConcurrentDictionary<string, bool> _unnoted;
    private readonly string _path;
    private readonly (long SizeBytes, Guid BootId) _of;
    private readonly long _clusters;
    private readonly byte[] _live;
    private readonly byte[] _filled;
    private readonly bool[] _unflushedPages;
    private readonly byte[] _changed = new byte[PageBytes];
    private (byte[]? Bits, long FileAt, int From, int Length) _doubtful; // what a write that failed may have left on file
    private long _present;

    private OverlayMap(IBlockFile file, string path, long sizeBytes, Guid bootId, IFileSystem files)
    {
        (_of, _path, _unnoted) = ((sizeBytes, bootId), path, Unnoted.GetOrCreateValue(files));
        _clusters = (sizeBytes + ClusterBytes - 1) / ClusterBytes;
        var pages = (_clusters + PageBytes * 8 - 1) / (PageBytes * 8);
        (_file, _live, _filled, _unflushedPages) = (file, new byte[pages * PageBytes], new byte[pages * PageBytes], new bool[pages]);
        file.SetLength(FilledAt + _filled.Length);
    }

    private long DurableAt => PageBytes + _live.Length;
    private long FilledAt => DurableAt + _live.Length;

    /// <summary>How many clusters count.</summary>
    internal long Present => Interlocked.Read(ref _present);

    /// <summary>Power was lost since some were filled: those that are said to be filled may have been written to all the same.</summary>
    internal bool FilledIsDoubtful { get; private set; }

    /// <summary>
    /// A flush failed, and since then nobody has said that all is written anew: what it was to write may be shown as long as there is power, or no longer, and no other flush writes it.
    /// </summary>
    internal bool FlushHasFailed { get; private set; }

    /// <summary>It was one of the data: of clusters that are not durable any sector may be gone, also those that were copied up from below.</summary>
    internal bool DataMayBeGone { get; private set; }

    /// <summary>The host was started anew: the data may hold what was written to clusters that do not count any more. Until <see cref="Begin"/> each opening is the first one since then.</summary>
    internal bool HasFallenBack { get; private set; }

    /// <summary>A killed process must not make it forgotten. In a sector of its own: one that is cut short then costs nothing of the map.</summary>
    /// <exception cref="IOException">The file does not take it. That one has failed this process knows all the same.</exception>
    internal void NoteFailedFlush(bool ofData)
    {
        lock (_gate)
        {
            (FlushHasFailed, DataMayBeGone) = (true, DataMayBeGone || ofData);
            _unnoted[_path] = DataMayBeGone;
            WriteNote(_file, DataMayBeGone ? byte.MaxValue : MapsFlushFailed);
            _unnoted.TryRemove(_path, out _);
        }
    }

    /// <summary>All that the data shows has been written anew, and is durable: nothing of it is gone any more, though whoever compares with it does not know of it yet.</summary>
    /// <exception cref="IOException">The file does not take it.</exception>
    internal void NoteDataWritten()
    {
        lock (_gate)
        {
            if (!DataMayBeGone) return;
            WriteNote(_file, MapsFlushFailed);
            DataMayBeGone = false;
            if (_unnoted.ContainsKey(_path)) _unnoted[_path] = false;
        }
    }

    /// <summary>All is written anew, and whoever compares with it knows.</summary>
    /// <exception cref="IOException">The file does not take it.</exception>
    internal void ForgetFailedFlush()
    {
        lock (_gate)
        {
            WriteNote(_file, NoFlushFailed);
            (FlushHasFailed, DataMayBeGone) = (false, false);
            _unnoted.TryRemove(_path, out _);
        }
    }

    /// <summary>Where the file did not take that a flush has failed, it may by now.</summary>
    internal void TryNoteAgain()
    {
        if (!FlushHasFailed || !_unnoted.ContainsKey(_path)) return;
        try
        {
            NoteFailedFlush(ofData: false);
        }
        catch (IOException)
        {
            // Whoever opens it next in this process tries again, before anything else.
        }
    }

    /// <summary>That what is filled is in doubt survives a restart. Only where all that counts is durable, twice: a header that is cut short then costs nothing of the map.</summary>
    internal void KeepDoubt()
    {
        if (!FilledIsDoubtful) return;
        WriteHeader();
        FlushOrNote();
    }

    /// <summary>None of the bits counts as durable, nor as on file: what is on file is written anew, and what was filled is in doubt.</summary>
    internal void UnflushAll()
    {
        lock (_gate)
        {
            _file.Write(PageBytes, _live);
            _file.Write(FilledAt, _filled);
            FilledIsDoubtful |= _filled.AsSpan().ContainsAnyExcept((byte)0);
            Array.Fill(_unflushedPages, true);
        }
    }

    /// <exception cref="InvalidDataException">The file is no map of a disk of this size.</exception>
    internal static OverlayMap Open(string path, long sizeBytes, Guid bootId, IFileSystem files)
    {
        if (!files.Exists(path))
        {
            files.Replace(path, Header(Version, sizeBytes, bootId, 0));
            Unnoted.GetOrCreateValue(files).TryRemove(path, out _); // of a layer before this one
        }
        var file = files.Open(path, FileOpening.ReadWrite);
        try
        {
            var stored = new byte[HeaderBytes];
            file.Read(0, stored);
            var (version, storedBoot, flags) = (BinaryPrimitives.ReadInt32LittleEndian(stored.AsSpan(4)), new Guid(stored.AsSpan(24, 16)), BinaryPrimitives.ReadInt32LittleEndian(stored.AsSpan(12)));
            var isWhole = stored.AsSpan().SequenceEqual(Header(version, sizeBytes, storedBoot, flags));
            var map = version is >= 1 and <= Version && (isWhole || IsOfDisk(stored, sizeBytes)) ? new OverlayMap(file, path, sizeBytes, bootId, files) : null;
            // It is written when all that counts has just been made durable: one that was cut short then says no less than one of another boot.
            if (map is null || !(isWhole || map.IsDurable())) throw new InvalidDataException($"{path} is damaged or belongs to a disk of another size");
            var note = new byte[NoteBytes];
            file.Read(NoteAt, note);
            (map.FilledIsDoubtful, map.FlushHasFailed, map.DataMayBeGone) =
                (!isWhole || (flags & FilledMayBeWritten) != 0, note.AsSpan().ContainsAnyExcept(NoFlushFailed), note.AsSpan().ContainsAnyExcept(NoFlushFailed, MapsFlushFailed));
            if (map._unnoted.TryGetValue(path, out var ofData)) map.NoteFailedFlush(ofData); // before a flush that would succeed and write nothing
            file.Read(map.FilledAt, map._filled);
            var sameBoot = isWhole && storedBoot == bootId && bootId != Guid.Empty;
            if (sameBoot) map.Resume();
            else map.FallBack();
            // Version 1 has no third bitmap, and a file that has just grown holds zeroes there: nothing was filled.
            if (sameBoot && version != Version) map.Begin();
            map._present = Count(map._live);
            return map;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Of a map that nobody has open, whatever else may be wrong with it: all clusters count, and were durable. False also where that cannot be read and is not to be waited for.</summary>
    /// <exception cref="IOException">It cannot be read, and may be in a moment.</exception>
    internal static bool SaysWhole(string path, long sizeBytes, IFileSystem files, bool givesUp)
    {
        var clusters = (sizeBytes + ClusterBytes - 1) / ClusterBytes;
        var bits = new byte[(clusters + PageBytes * 8 - 1) / (PageBytes * 8) * PageBytes];
        try
        {
            if (!files.Exists(path)) return false;
            using var file = files.Open(path, FileOpening.Read);
            file.Read(PageBytes + bits.Length, bits);
        }
        catch (IOException) when (givesUp)
        {
            return false;
        }
        for (long at = 0, last = clusters - 1; at <= last >> 3; at++)
            if ((bits[at] & MaskOf(at, 0, last)) != MaskOf(at, 0, last)) return false;
        return true;
    }

    /// <summary>Of a map that nobody has open: a flush has failed since all was last written anew, or nobody can say that none has.</summary>
    internal static bool MayHaveForgotten(string path, IFileSystem files)
    {
        try
        {
            if (Unnoted.GetOrCreateValue(files).ContainsKey(path)) return true;
            var note = (stackalloc byte[NoteBytes]);
            using var file = files.Open(path, FileOpening.Read);
            file.Read(NoteAt, note);
            return note.ContainsAnyExcept((byte)0);
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>The same as of one that is open, where nobody has it open.</summary>
    internal static void NoteFailedFlush(string path, IFileSystem files)
    {
        var unnoted = Unnoted.GetOrCreateValue(files);
        unnoted[path] = true;
        try
        {
            using var file = files.Open(path, FileOpening.ReadWrite);
            WriteNote(file, byte.MaxValue);
            unnoted.TryRemove(path, out _);
        }
        catch (IOException)
        {
            // This process still knows.
        }
    }

    internal bool Has(long cluster) => IsSet(_live, cluster);

    /// <summary>Those of a run that count and are not durable; ascending.</summary>
    internal IEnumerable<long> NotDurable(long first, long last)
    {
        var durable = new byte[(last >> 3) - (first >> 3) + 1];
        _file.Read(DurableAt + (first >> 3), durable);
        for (var cluster = first; cluster <= last; cluster++)
            if (Has(cluster) && (durable[(cluster >> 3) - (first >> 3)] & (1 << (int)(cluster & 7))) == 0) yield return cluster;
    }

    /// <summary>It counts no more. For this process: on file once all is written anew.</summary>
    internal void Drop(long cluster)
    {
        lock (_gate)
        {
            _live[cluster >> 3] &= (byte)~(1 << (int)(cluster & 7));
            _present--;
        }
    }

    /// <summary>The run of clusters from <paramref name="first"/>, up to <paramref name="last"/>, that are all there or all not.</summary>
    internal (long Last, bool Present) RunAt(long first, long last)
    {
        var present = Has(first);
        var end = first;
        while (end < last && Has(end + 1) == present) end++;
        return (end, present);
    }

    /// <summary>Whether some of them were filled and not written since.</summary>
    internal bool AnyFilled(long first, long last)
    {
        for (var at = first >> 3; at <= last >> 3; at++)
            if ((Volatile.Read(ref _filled[at]) & MaskOf(at, first, last)) != 0) return true;
        return false;
    }

    /// <summary>The first cluster from that one on that is there and was written to, or -1. While it is in doubt what was filled, all that are there.</summary>
    internal long NextWritten(long cluster)
    {
        for (; cluster < _clusters; cluster++)
        {
            if ((cluster & 7) == 0)
            {
                var skipped = _live.AsSpan((int)(cluster >> 3)).IndexOfAnyExcept((byte)0);
                if (skipped < 0) return -1;
                cluster += 8L * skipped;
            }
            if (IsWritten(cluster)) return cluster;
        }
        return -1;
    }

    /// <summary>The last of the run of clusters from <paramref name="first"/>, one of <see cref="NextWritten"/>, up to <paramref name="last"/>, that are like it.</summary>
    internal long WrittenUpTo(long first, long last)
    {
        var end = first;
        while (end < last && IsWritten(end + 1)) end++;
        return end;
    }

    /// <summary>The first cluster from that one on that is not there, or -1.</summary>
    internal long NextAbsent(long cluster)
    {
        for (; cluster < _clusters; cluster++)
        {
            if ((cluster & 7) == 0)
            {
                var skipped = _live.AsSpan((int)(cluster >> 3)).IndexOfAnyExcept((byte)0xFF);
                if (skipped < 0) return -1;
                cluster += 8L * skipped;
            }
            if (!Has(cluster)) return cluster < _clusters ? cluster : -1;
        }
        return -1;
    }

    /// <summary>They are about to be written to.</summary>
    internal void Unfill(long first, long last)
    {
        if (!AnyFilled(first, last)) return;
        lock (_gate) Change(_filled, FilledAt, first, last, (bits, mask) => bits & ~mask);
    }

    /// <summary>Their data is written: from here on they count, also for the next process.</summary>
    internal void Add(long first, long last)
    {
        lock (_gate)
        {
            for (var at = first >> 3; at <= last >> 3; at++) _unflushedPages[at / PageBytes] = true;
            _present += Change(_live, PageBytes, first, last, (bits, mask) => bits | mask);
        }
    }

    /// <summary>What lies below was copied up to them: they count, and nobody has written to them.</summary>
    internal void AddFilled(long first, long last)
    {
        lock (_gate) Change(_filled, FilledAt, first, last, (bits, mask) => bits | mask);
        Add(first, last);
    }

    /// <summary>The pages that changed since the last call. Their bits may become durable once the data has been flushed.</summary>
    internal List<(int Page, byte[] Bits)> TakeUnflushed()
    {
        var taken = new List<(int, byte[])>();
        lock (_gate)
        {
            WriteOver();
            for (var page = 0; page < _unflushedPages.Length; page++)
            {
                if (!_unflushedPages[page]) continue;
                _unflushedPages[page] = false;
                taken.Add((page, _live.AsSpan(page * PageBytes, PageBytes).ToArray()));
            }
        }
        return taken;
    }

    internal void MakeDurable(List<(int Page, byte[] Bits)> taken)
    {
        if (taken.Count == 0) return;
        foreach (var (page, bits) in taken) _file.Write(DurableAt + (long)page * PageBytes, bits);
        _file.Flush();
    }

    public void Dispose() => _file.Dispose();

    private bool IsWritten(long cluster) => Has(cluster) && (FilledIsDoubtful || !IsSet(_filled, cluster));

    private void Resume()
    {
        _file.Read(PageBytes, _live);
        var durable = new byte[PageBytes];
        for (var page = 0; page < _unflushedPages.Length; page++)
        {
            _file.Read(DurableAt + (long)page * PageBytes, durable);
            var live = _live.AsSpan(page * PageBytes, PageBytes);
            // What is durable counts, also where its live bit was forgotten after a flush that failed.
            for (var i = 0; i < PageBytes; i++) live[i] |= durable[i];
            _unflushedPages[page] = !durable.AsSpan().SequenceEqual(live);
        }
        FlushOrNote(); // the process before was perhaps killed when it had written them and not flushed
    }

    private void FlushOrNote()
    {
        try
        {
            _file.Flush();
        }
        catch (IOException)
        {
            NoteFailedFlush(ofData: false); // the next one would succeed, and write nothing
            throw;
        }
    }

    private bool IsDurable()
    {
        byte[] live = new byte[_live.Length], durable = new byte[_live.Length];
        _file.Read(PageBytes, live);
        _file.Read(DurableAt, durable);
        return live.AsSpan().SequenceEqual(durable);
    }

    private void FallBack()
    {
        _file.Read(DurableAt, _live);
        _file.Write(PageBytes, _live);
        HasFallenBack = true;
        // A bit that was cleared may have come back, though the write that followed it stayed.
        FilledIsDoubtful |= _filled.AsSpan().ContainsAnyExcept((byte)0);
    }

    /// <summary>From here on it is a map of this life of the host.</summary>
    internal void Begin()
    {
        FlushOrNote();
        WriteHeader();
        FlushOrNote();
    }

    private static void WriteNote(IBlockFile file, byte value)
    {
        var note = (stackalloc byte[NoteBytes]);
        note.Fill(value);
        file.Write(NoteAt, note);
    }

    private void WriteHeader() => _file.Write(0, Header(Version, _of.SizeBytes, _of.BootId, FilledIsDoubtful ? FilledMayBeWritten : 0));

    /// <summary>
    /// On file first: where that fails nothing has changed, and what it may have left there is written over at once, for the next process would show what this one does not; where that fails too, before anything
    /// else is.
    /// </summary>
    /// <returns>By how many more bits are set.</returns>
    private int Change(byte[] bits, long fileAt, long first, long last, Func<int, int, int> change)
    {
        WriteOver();
        var more = 0;
        for (long from = first >> 3, end = (last >> 3) + 1; from < end; from += _changed.Length)
        {
            var changed = _changed.AsSpan(0, (int)Math.Min(_changed.Length, end - from));
            for (var i = 0; i < changed.Length; i++) changed[i] = (byte)change(bits[from + i], MaskOf(from + i, first, last));
            _doubtful = (bits, fileAt, (int)from, changed.Length);
            try
            {
                _file.Write(fileAt + from, changed);
            }
            catch (IOException)
            {
                TryWriteOver();
                throw;
            }
            _doubtful = default;
            for (var i = 0; i < changed.Length; i++)
            {
                more += BitOperations.PopCount(changed[i]) - BitOperations.PopCount(bits[from + i]);
                Volatile.Write(ref bits[from + i], changed[i]);
            }
        }
        return more;
    }

    private void TryWriteOver()
    {
        try
        {
            WriteOver();
        }
        catch (IOException)
        {
            // The next change does.
        }
    }

    private void WriteOver()
    {
        if (_doubtful is not ({ } bits, var fileAt, var from, var length)) return;
        _file.Write(fileAt + from, bits.AsSpan(from, length));
        _doubtful = default;
    }

    private static int MaskOf(long at, long first, long last) =>
        (0xFF << (at == first >> 3 ? (int)(first & 7) : 0)) & (0xFF >> (7 - (at == last >> 3 ? (int)(last & 7) : 7)));

    private static bool IsSet(byte[] bits, long cluster) => (Volatile.Read(ref bits[cluster >> 3]) & (1 << (int)(cluster & 7))) != 0;

    private static long Count(byte[] bits)
    {
        var count = 0L;
        foreach (var word in MemoryMarshal.Cast<byte, ulong>(bits)) count += BitOperations.PopCount(word);
        return count;
    }

    /// <summary>By what each of its headers begins with.</summary>
    private static bool IsOfDisk(ReadOnlySpan<byte> header, long sizeBytes) => BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic
        && BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) == ClusterBytes && BinaryPrimitives.ReadInt64LittleEndian(header[16..]) == sizeBytes;

    private static byte[] Header(int version, long sizeBytes, Guid bootId, int flags)
    {
        var bytes = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), ClusterBytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), flags);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), sizeBytes);
        bootId.TryWriteBytes(bytes.AsSpan(24));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(40), XxHash3.HashToUInt64(bytes.AsSpan(0, 40)));
        return bytes;
    }
}
