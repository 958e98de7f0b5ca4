using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using System.Text;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>A file of frames of one incarnation in ordinal order, as SPOOL.md describes it. Its owner's lock guards what changes.</summary>
internal sealed class SpoolSegment(string path, long number, StreamOpening opening, int headerBytes)
{
    private const uint Magic = 0x50535253; // "SRSP"
    private const int FixedBytes = 48, KnownBytes = 24, DiskBytesMin = 12, HeaderBytesMax = 1 << 20, WindowBytes = 4096;
    private readonly Lock _opening = new();
    private IBlockFile? _file;

    public string Path => path;
    public long Number => number;
    public StreamOpening Opening => opening;
    public int HeaderBytes => headerBytes;
    public long End { get; set; } = headerBytes;
    public long FirstOrdinal { get; set; }
    public long LastOrdinal { get; set; }
    /// <summary>The source's, of its first frame.</summary>
    public DateTimeOffset FirstTime { get; set; }
    public bool Sealed { get; set; }
    /// <summary>A write that does not count may have left bytes beyond the end.</summary>
    public bool Ragged { get; set; }
    /// <summary>Writes that the disk did not take.</summary>
    public int Failures { get; set; }
    /// <summary>A disk without room has none anywhere; a page with a bad sector takes nothing that begins or ends in it, ever.</summary>
    public bool IsStuck => Failures > 1;
    /// <summary>The sender has looked into it: it is not rewritten any more.</summary>
    public bool Begun { get; set; }
    public bool Coalesced { get; set; }
    public bool IsEmpty => End == headerBytes;
    public StreamPosition First => new(opening.Incarnation, FirstOrdinal);
    public StreamPosition Last => new(opening.Incarnation, LastOrdinal);

    public static string PathOf(string folder, MachineId machine, long number) =>
        System.IO.Path.Combine(folder, machine.Value + "~" + number.ToString("D10", CultureInfo.InvariantCulture) + ".seg");

    public static long NumberOf(string path) =>
        long.TryParse(System.IO.Path.GetFileNameWithoutExtension(path).Split('~')[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;

    public static SpoolSegment Create(IFileSystem files, string folder, long number, StreamOpening opening)
    {
        var segment = new SpoolSegment(PathOf(folder, opening.Machine, number), number, opening, Header(number, opening).Length);
        try
        {
            segment.Renew(files);
            return segment;
        }
        catch
        {
            segment.Close();
            throw;
        }
    }

    /// <summary>It has no frame, and is written from its beginning: in other sectors, where those it had are bad.</summary>
    public void Renew(IFileSystem files)
    {
        var file = File(files, FileOpening.Create);
        file.SetLength(0);
        file.Write(0, Header(number, opening));
    }

    /// <summary>Null where the header is torn or another machine's.</summary>
    /// <param name="givesUp">Also where it cannot be read.</param>
    public static SpoolSegment? TryOpen(IFileSystem files, string path, MachineId machine, long number, bool givesUp)
    {
        try
        {
            return TryOpen(files, path, machine, number);
        }
        catch (IOException) when (givesUp)
        {
            return null;
        }
    }

    /// <summary>Nothing was ever written to it, or nothing of it has survived: as if it had never been made. What follows must continue what is in front of it all the same.</summary>
    /// <param name="givesUp">False also where it cannot be asked.</param>
    public static bool IsNothing(IFileSystem files, string path, bool givesUp)
    {
        try
        {
            using var file = files.Open(path, FileOpening.Read);
            return file.LengthBytes == 0;
        }
        catch (IOException) when (givesUp)
        {
            return false;
        }
    }

    private static SpoolSegment? TryOpen(IFileSystem files, string path, MachineId machine, long number)
    {
        using var file = files.Open(path, FileOpening.Read);
        Span<byte> start = stackalloc byte[FixedBytes];
        file.Read(0, start);
        var length = BinaryPrimitives.ReadInt32LittleEndian(start[40..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(start) != Magic || length is < FixedBytes or > HeaderBytesMax || length > file.LengthBytes) return null;
        var header = new byte[length];
        file.Read(0, header);
        if (Read(header, machine, number) is not { } opening) return null;
        return new SpoolSegment(path, number, opening, length);
    }

    /// <summary>One that is gone is not made anew: an empty file would stand in front of what follows.</summary>
    public IBlockFile File(IFileSystem files, FileOpening how = FileOpening.ReadWrite)
    {
        lock (_opening) return _file ??= files.Open(path, how);
    }

    public void Close()
    {
        lock (_opening)
        {
            _file?.Dispose();
            _file = null;
        }
    }

    /// <summary>From here on nothing is appended; what does not count is cut off.</summary>
    public void Seal(IFileSystem files)
    {
        if (Ragged) File(files).SetLength(End);
        Close();
        Sealed = true;
    }

    /// <summary>Not checked against its hash.</summary>
    /// <exception cref="SpoolDamagedException">There is no such frame.</exception>
    /// <exception cref="SpoolUnreadableException">The disk does not give it.</exception>
    public BatchHeader ReadHeader(IFileSystem files, long offset, StreamPosition position)
    {
        try
        {
            Span<byte> prefix = stackalloc byte[BatchCodec.HeaderBytes];
            File(files).Read(offset, prefix);
            var header = BatchCodec.ReadHeader(prefix);
            if (header.Incarnation != position.Incarnation || header.Ordinal != position.Ordinal || header.Epoch != opening.Epoch)
                throw new InvalidDataException("another frame than was written there");
            return offset + header.FrameBytes <= End ? header : throw new InvalidDataException("frame reaches over the end");
        }
        catch (InvalidDataException damage)
        {
            throw new SpoolDamagedException($"segment {number} is damaged at offset {offset}: {damage.Message}", damage);
        }
        catch (IOException unreadable)
        {
            throw new SpoolUnreadableException(position, $"segment {number} cannot be read at offset {offset}: {unreadable.Message}", unreadable);
        }
    }

    /// <summary>Reads and checks a whole frame, into an array of the frame pool.</summary>
    /// <exception cref="SpoolDamagedException">It is not the frame that was written there.</exception>
    /// <exception cref="SpoolUnreadableException">The disk does not give it.</exception>
    public Batch ReadFrame(IFileSystem files, long offset, StreamPosition position)
    {
        var length = ReadHeader(files, offset, position).FrameBytes;
        var frame = FramePool.Shared.Rent(length).AsMemory(0, length);
        try
        {
            File(files).Read(offset, frame.Span);
            return BatchCodec.Verify(frame);
        }
        catch (InvalidDataException damage)
        {
            throw new SpoolDamagedException($"segment {number} is damaged at offset {offset}: {damage.Message}", damage);
        }
        catch (IOException unreadable)
        {
            throw new SpoolUnreadableException(position, $"segment {number} cannot be read at offset {offset}: {unreadable.Message}", unreadable);
        }
    }

    /// <summary>
    /// Walks the frames up to the last good one and sets what is known of the segment by it. With every payload's hash, or by the headers alone. Absorbed deltas at the end, whose data was in a
    /// frame that is lost, are no good ones: the next room would wait for it for good.
    /// </summary>
    public void Scan(IFileSystem files, bool whole, bool givesUp, Action<long, BatchHeader> found)
    {
        var file = File(files);
        var length = file.LengthBytes;
        var window = new byte[WindowBytes];
        long at = headerBytes, windowAt = -WindowBytes;
        var tag = BatchCodec.TagOf(opening.Machine);
        (long End, long LastOrdinal)? run = null;
        try
        {
            while (at + BatchCodec.HeaderBytes <= length)
            {
                if (at + BatchCodec.HeaderBytes > windowAt + WindowBytes) file.Read(windowAt = at, window);
                var header = BatchCodec.ReadHeader(window.AsSpan((int)(at - windowAt)));
                if (at + header.FrameBytes > length || header.MachineTag != tag || header.Incarnation != opening.Incarnation || header.Epoch != opening.Epoch) break;
                if (IsEmpty ? header.Ordinal < 1 : header.Ordinal != LastOrdinal + 1) break;
                if (whole)
                {
                    var frame = new byte[header.FrameBytes];
                    file.Read(at, frame);
                    BatchCodec.Verify(frame);
                }
                if (header.Absorbed) run ??= (at, LastOrdinal);
                else if (!header.IsTick) run = null;
                if (IsEmpty) (FirstOrdinal, FirstTime) = (header.Ordinal, header.Time);
                LastOrdinal = header.Ordinal;
                found(at, header);
                End = at += header.FrameBytes;
            }
        }
        catch (Exception damage) when (damage is InvalidDataException || (givesUp && damage is IOException))
        {
            // The frames before it stand.
        }
        if (run is { } open) (End, LastOrdinal) = open;
    }

    private static byte[] Header(long number, StreamOpening opening)
    {
        using var memory = new MemoryStream();
        using var to = new BinaryWriter(memory, Encoding.UTF8);
        to.Write(Magic);
        to.Write(1);
        to.Write(BatchCodec.TagOf(opening.Machine));
        to.Write(number);
        to.Write(opening.Incarnation);
        to.Write(opening.Epoch.Value);
        to.Write((ushort)opening.Disks.Count);
        to.Write((ushort)0);
        to.Write(0);
        to.Write(0);
        foreach (var disk in opening.Disks)
        {
            to.Write(disk.Index);
            to.Write((ushort)Encoding.UTF8.GetByteCount(disk.Name));
            to.Write(disk.SizeBytes);
            to.Write(Encoding.UTF8.GetBytes(disk.Name));
        }
        to.Write(opening.KnownDurable.Value);
        to.Write(opening.KnownPosition.Incarnation);
        to.Write(opening.KnownPosition.Ordinal);
        to.Write(0UL);
        to.Flush();
        var header = memory.ToArray();
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(40), header.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(header.Length - 8), XxHash3.HashToUInt64(header.AsSpan(0, header.Length - 8)));
        return header;
    }

    private static StreamOpening? Read(ReadOnlySpan<byte> header, MachineId machine, long number)
    {
        var body = header[..^8];
        if (XxHash3.HashToUInt64(body) != BinaryPrimitives.ReadUInt64LittleEndian(header[^8..])) return null;
        if (BinaryPrimitives.ReadInt32LittleEndian(header[4..]) != 1 || BinaryPrimitives.ReadInt64LittleEndian(header[16..]) != number) return null;
        if (BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != BatchCodec.TagOf(machine)) return null;
        var disks = new DiskGeometry[BinaryPrimitives.ReadUInt16LittleEndian(header[36..])];
        var at = FixedBytes;
        for (var i = 0; i < disks.Length; i++)
        {
            if (at + DiskBytesMin > body.Length) return null;
            var name = BinaryPrimitives.ReadUInt16LittleEndian(body[(at + 2)..]);
            if (at + DiskBytesMin + name > body.Length) return null;
            disks[i] = new DiskGeometry(BinaryPrimitives.ReadUInt16LittleEndian(body[at..]),
                Encoding.UTF8.GetString(body.Slice(at + DiskBytesMin, name)), BinaryPrimitives.ReadInt64LittleEndian(body[(at + 4)..]));
            at += DiskBytesMin + name;
        }
        var opening = new StreamOpening(machine, new Epoch(BinaryPrimitives.ReadInt32LittleEndian(header[32..])), disks, BinaryPrimitives.ReadInt64LittleEndian(header[24..]));
        // A process server of before 2026-11-29 does not keep it.
        return body.Length - at < KnownBytes ? opening : opening with
        {
            KnownDurable = new Sequence(BinaryPrimitives.ReadInt64LittleEndian(body[at..])),
            KnownPosition = new StreamPosition(BinaryPrimitives.ReadInt64LittleEndian(body[(at + 8)..]), BinaryPrimitives.ReadInt64LittleEndian(body[(at + 16)..])),
        };
    }
}

/// <summary>A stored frame cannot be read, perhaps for now.</summary>
internal sealed class SpoolUnreadableException(StreamPosition at, string reason, Exception inner) : IOException(reason, inner)
{
    internal StreamPosition At => at;
}

/// <summary>A stored frame is not what was written: it is never sent.</summary>
internal sealed class SpoolDamagedException(string reason, Exception inner) : IOException(reason, inner);
