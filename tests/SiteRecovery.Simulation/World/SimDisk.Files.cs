using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.World;

/// <content>Open files, and what may be wrong with their bytes.</content>
public sealed partial class SimDisk
{
    /// <summary>A byte of a file rots, on the disk itself.</summary>
    public void Flip(string path, long offset, byte mask)
    {
        lock (_gate) ((SimInode)Find(path)!).Flip(offset, mask);
    }

    /// <summary>A sector of a file, and the page that it is in, cannot be read any more until the page is written.</summary>
    public void Spoil(string path, long offset)
    {
        lock (_gate) ((SimInode)Find(path)!).Spoil(offset);
    }

    /// <summary>Memory is short, and pages are dropped: of what flushes have failed to write nothing is shown any more.</summary>
    /// <returns>Whether anything was.</returns>
    public bool Evict()
    {
        List<string> forgot = [];
        lock (_gate)
        {
            foreach (var path in Files())
            {
                var file = (SimInode)Find(path)!;
                if (!file.ShowsWhatIsNotThere) continue;
                ShowDisk(file);
                forgot.Add(path);
            }
        }
        foreach (var path in forgot) Forgot?.Invoke(path);
        return forgot.Count > 0;
    }

    private void ShowDisk(SimInode file)
    {
        _pages -= file.Live.Pages;
        file.ForgetCached();
        _pages += file.Live.Pages;
    }

    /// <summary>A file's bytes as they are, whatever the disk suffers from.</summary>
    public void Peek(string path, Span<byte> into)
    {
        lock (_gate) ((SimInode)Find(path)!).Live.Read(0, into);
    }

    public long LengthOf(string path)
    {
        lock (_gate) return ((SimInode)Find(path)!).Live.Length;
    }

    /// <summary>Every file, in order.</summary>
    public IReadOnlyList<string> Files(string below = "/")
    {
        lock (_gate) return Find(below) is SimFolder folder ? [.. Below(folder, below.TrimEnd('/'))] : [];
    }

    private static IEnumerable<string> Below(SimFolder folder, string path) =>
        folder.Live.SelectMany(e => e.Value is SimFolder below ? Below(below, path + "/" + e.Key) : [path + "/" + e.Key]);

    private void ChangeFile(SimInode file, string path, Change change, IoKind kind)
    {
        SimIo io;
        lock (_gate)
        {
            io = new SimIo(Changes + 1, kind, path, change.Offset, change.Length);
            var fault = FaultOf(io);
            if (fault == Fault.Error || file.CannotRead(change)) throw Broken(path);
            Changes++;
            var asked = change;
            if (fault == Fault.Torn && change is { Kind: ChangeKind.Write, Length: > 1 }) change = FirstOf(change, HalfOf(change));
            var room = RoomFor(path, file, change);
            if (room < change.Length && change.Kind == ChangeKind.Write) change = FirstOf(change, room);
            var before = file.Live.Pages;
            if (change.Length > 0 || change.Kind != ChangeKind.Write) file.Change(change);
            if (file.Linked || file.Opens > 0) _pages += file.Live.Pages - before;
            if (fault == Fault.Torn) throw Broken(path);
            if (change.Length < asked.Length) throw NoSpace(path);
        }
        End(io);
    }

    /// <summary>No disk writes half of a sector: what is written in whole ones is torn between them. Anything else is torn anywhere, which is more than a disk does.</summary>
    private static long HalfOf(Change write) =>
        write.Offset % SectorBytes == 0 && write.Length % SectorBytes == 0 ? write.Length / 2 / SectorBytes * SectorBytes : write.Length / 2;

    private static Change FirstOf(Change write, long length) => write with { Length = length, Data = write.Data![..(int)length] };

    /// <summary>How many of the bytes of a write find room.</summary>
    private long RoomFor(string path, SimInode file, Change change)
    {
        if (CapacityBytes == long.MaxValue || change.Kind != ChangeKind.Write || path.StartsWith("/disks/", StringComparison.Ordinal)) return change.Length; // a guest's disk lies elsewhere
        var free = (CapacityBytes - UsedBytes) / SimContent.PageBytes;
        for (var page = change.Offset / SimContent.PageBytes; page * SimContent.PageBytes < change.Offset + change.Length; page++)
            if (!file.Live.Has(page) && free-- <= 0) return Math.Max(0, page * SimContent.PageBytes - change.Offset);
        return change.Length;
    }

    private void FlushFile(SimInode file, string path)
    {
        SimIo io;
        lock (_gate)
        {
            io = new SimIo(Changes + 1, IoKind.Flush, path);
            if (FaultOf(io) is var fault and not Fault.None)
            {
                file.FlushBadly(new Random((int)io.Number), Lost is { } lost ? sector => lost(path, sector) : null);
                FlushFailed?.Invoke(path);
                throw Broken(path);
            }
            Changes++;
            file.Flush();
        }
        End(io);
    }

    private void ReadFile(SimInode file, string path, long offset, Span<byte> into)
    {
        lock (_gate)
        {
            if (FaultOf(new SimIo(Changes, IoKind.Read, path, offset, into.Length)) != Fault.None) throw Broken(path);
            if (file.Unreadable.Count > 0)
                for (var page = offset / SimContent.PageBytes; page * SimContent.PageBytes < offset + into.Length; page++)
                {
                    if (!file.Unreadable.Contains(page)) continue;
                    // What lies in front of it has been read.
                    file.Live.Read(offset, into[..(int)Math.Max(0, page * SimContent.PageBytes - offset)]);
                    throw Broken(path);
                }
            file.Live.Read(offset, into);
        }
    }

    private void Close(SimInode file)
    {
        lock (_gate)
            if (--file.Opens == 0 && !file.Linked) _pages -= file.Live.Pages;
    }

    private sealed class SimFile(SimDisk disk, SimInode file, string path, bool readOnly) : IBlockFile
    {
        private bool _closed;

        public long LengthBytes
        {
            get { lock (disk._gate) return file.Live.Length; }
        }

        public void SetLength(long lengthBytes) => Change(new Change(ChangeKind.SetLength, 0, lengthBytes, null), IoKind.SetLength);

        public void Read(long offset, Span<byte> into)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            disk.ReadFile(file, path, offset, into);
        }

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            if (from.Length > 0) Change(new Change(ChangeKind.Write, offset, from.Length, from.ToArray()), IoKind.Write);
        }

        public void Zero(long offset, long length)
        {
            if (length > 0) Change(new Change(ChangeKind.Zero, offset, length, null), IoKind.Zero);
        }

        public void Flush()
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            disk.FlushFile(file, path);
        }

        public void ForgetCached()
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            lock (disk._gate) disk.ShowDisk(file);
            disk.Forgot?.Invoke(path);
        }

        public (long Length, bool Hole) RunAt(long offset)
        {
            lock (disk._gate) return file.Live.RunAt(offset);
        }

        public void Dispose()
        {
            if (_closed) return;
            _closed = true;
            disk.Close(file);
        }

        private void Change(Change change, IoKind kind)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (readOnly) throw new UnauthorizedAccessException($"{path} was opened to be read");
            disk.ChangeFile(file, path, change, kind);
        }
    }
}
