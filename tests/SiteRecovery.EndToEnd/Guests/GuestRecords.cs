using System.Buffers.Text;
using System.Globalization;
using System.IO.Hashing;
using System.Text;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>The records file of one disk, read without the guest. guest.c has its format.</summary>
/// <param name="Count">Whole records from number 1 on, without gap, up to the first that is not right.</param>
/// <param name="Problem">What is wrong after them, or null. Half a record at the end is not wrong: nobody was told about it.</param>
internal sealed record GuestRecords(long Count, string? Problem)
{
    private const int ChecksumDigits = 8;

    internal static GuestRecords Parse(ReadOnlySpan<byte> file)
    {
        long count = 0;
        while (file.IndexOf((byte)'\n') is >= 0 and var end)
        {
            var line = file[..end];
            if (line.Length <= ChecksumDigits || !Utf8Parser.TryParse(line, out long number, out _) || number != count + 1)
                return new GuestRecords(count, $"record {count + 1} is missing: in its place is '{Start(line)}'");
            var checksum = Crc32.HashToUInt32(line[..^(ChecksumDigits + 1)]).ToString("x8", CultureInfo.InvariantCulture);
            if (Encoding.ASCII.GetString(line[^ChecksumDigits..]) != checksum) return new GuestRecords(count, $"record {number} is damaged: '{Start(line)}'");
            count = number;
            file = file[(end + 1)..];
        }
        return new GuestRecords(count, null);
    }

    private static string Start(ReadOnlySpan<byte> line) => Encoding.ASCII.GetString(line[..Math.Min(60, line.Length)]);
}
