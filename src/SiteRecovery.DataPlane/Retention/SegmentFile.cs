using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>The format of a segment of the log, and its name: STORE.md.</summary>
internal static class SegmentFile
{
    internal const int ThinnedHeaderBytes = 64;
    private const int FirstHeaderBytes = 32, HashBytes = 8;
    private const uint Magic = 0x31535253; // "SRS1"

    internal static int HeaderBytesOf(SegmentId id) => id.Generation == 0 ? FirstHeaderBytes : ThinnedHeaderBytes;

    /// <param name="extension">Its own, or that of a file that was made from it.</param>
    internal static string PathOf(string folder, SegmentId id, string extension = ".seg") => Path.Combine(folder, "log", id.Generation == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{id.Number:D10}{extension}")
        : string.Create(CultureInfo.InvariantCulture, $"{id.First:D10}-{id.Number:D10}.{id.Generation:D6}{extension}"));

    /// <summary>What a file of the log belongs to; null: to no segment.</summary>
    internal static (SegmentId Id, string Extension)? TryParse(string path)
    {
        var parts = Path.GetFileName(path).Split('.', 2);
        if (parts.Length < 2) return null;
        if (TryNumber(parts[0], 10) is { } only) return (SegmentId.Of(only), "." + parts[1]);
        var (range, rest) = (parts[0].Split('-'), parts[1].Split('.', 2));
        return range.Length == 2 && rest.Length == 2 && TryNumber(range[0], 10) is { } first && TryNumber(range[1], 10) is { } last && TryNumber(rest[0], 6) is { } generation
            && first <= last && generation > 0 ? (new SegmentId(last, generation, first), "." + rest[1]) : null;
    }

    /// <param name="step">How far apart what it shows was left by thinning; zero: it was never thinned.</param>
    internal static byte[] Header(ulong tag, SegmentId id, TimeSpan step)
    {
        var bytes = new byte[HeaderBytesOf(id)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), id.Generation == 0 ? 1u : 2u);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), tag);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), id.Number);
        if (id.Generation > 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), id.First);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(32), id.Generation);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(40), step.Ticks / TimeSpan.TicksPerMicrosecond);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(bytes.Length - HashBytes), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - HashBytes)));
        return bytes;
    }

    /// <summary>The step that the header says; null: the header is damaged, or that of another segment.</summary>
    internal static TimeSpan? StepOf(IBlockFile file, ulong tag, SegmentId id)
    {
        var header = new byte[HeaderBytesOf(id)];
        if (file.LengthBytes < header.Length) return null;
        file.Read(0, header);
        var microseconds = id.Generation == 0 ? 0 : BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(40));
        if (microseconds is < 0 or > long.MaxValue / TimeSpan.TicksPerMicrosecond) return null;
        var step = new TimeSpan(microseconds * TimeSpan.TicksPerMicrosecond);
        return header.AsSpan().SequenceEqual(Header(tag, id, step)) ? step : null;
    }

    /// <summary>Verifies frame after frame. Returns the end of the last whole one and, if it is not the file's end, why.</summary>
    /// <param name="givesUp">What cannot be read is damaged.</param>
    internal static (long End, string? Reason) Scan(IBlockFile file, ulong tag, SegmentId id, Action<long, Batch>? found, bool givesUp = false)
    {
        try
        {
            if (StepOf(file, tag, id) is null) return (0, "segment header is damaged");
        }
        catch (IOException unreadable) when (givesUp)
        {
            return (0, "segment header cannot be read: " + unreadable.Message);
        }
        return ScanFrames(file, tag, id, found, givesUp);
    }

    /// <summary>The same, whatever the header says.</summary>
    internal static (long End, string? Reason) ScanFrames(IBlockFile file, ulong tag, SegmentId id, Action<long, Batch>? found, bool givesUp)
    {
        var length = file.LengthBytes;
        long at = HeaderBytesOf(id);
        try
        {
            var prefix = new byte[BatchCodec.HeaderBytes];
            while (at < length)
            {
                file.Read(at, prefix);
                var frameBytes = BatchCodec.ReadHeader(prefix).FrameBytes;
                if (frameBytes > length - at) return (at, "frame is cut short");
                var frame = new byte[frameBytes];
                file.Read(at, frame);
                var batch = BatchCodec.Verify(frame);
                if (batch.Header.MachineTag != tag) return (at, "frame of another machine");
                found?.Invoke(at, batch);
                at += frameBytes;
            }
            return (at, null);
        }
        catch (InvalidDataException damage)
        {
            return (at, damage.Message);
        }
        catch (IOException unreadable) when (givesUp)
        {
            return (at, "it cannot be read: " + unreadable.Message);
        }
    }

    private static int? TryNumber(string text, int digits) =>
        text.Length >= digits && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
