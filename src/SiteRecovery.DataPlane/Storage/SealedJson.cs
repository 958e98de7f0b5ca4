using System.IO.Hashing;
using System.Text;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>
/// A JSON object whose last property, "checksum", is the XxHash3 of all bytes before it (16 hex digits). Whoever does not know of it passes over it; a file of
/// before there were checksums has none.
/// </summary>
public static class SealedJson
{
    private const int HashDigits = 16;

    /// <param name="json">An object that is not empty.</param>
    public static byte[] Seal(ReadOnlySpan<byte> json)
    {
        var body = json[..json.LastIndexOf((byte)'}')].TrimEnd("\r\n "u8);
        return [.. body, .. EndOf(body)];
    }

    /// <summary>The object without its seal; one that has none is as it was. A type that allows no unknown members takes no broken seal for none.</summary>
    /// <exception cref="InvalidDataException">The bytes are not those that were sealed.</exception>
    public static byte[] Open(byte[] sealedBytes)
    {
        var start = sealedBytes.AsSpan().LastIndexOf(Name);
        if (start < 0) return sealedBytes;
        var body = sealedBytes.AsSpan(0, start);
        if (!sealedBytes.AsSpan(start).SequenceEqual(EndOf(body))) throw new InvalidDataException("the file is not what was written: its checksum does not match");
        return [.. body, (byte)'}'];
    }

    private static ReadOnlySpan<byte> Name => ",\n  \"checksum\": \""u8;

    private static byte[] EndOf(ReadOnlySpan<byte> body) => [.. Name, .. Encoding.ASCII.GetBytes(XxHash3.HashToUInt64(body).ToString($"x{HashDigits}", System.Globalization.CultureInfo.InvariantCulture)), .. "\"\n}"u8];
}
