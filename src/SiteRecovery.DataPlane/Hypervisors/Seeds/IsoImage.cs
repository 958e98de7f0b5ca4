using System.Buffers.Binary;
using System.Text;

namespace SiteRecovery.DataPlane.Hypervisors.Seeds;

/// <param name="Name">Letters in lower case, digits and hyphens.</param>
internal sealed record IsoFile(string Name, byte[] Content);

/// <summary>
/// A small ISO 9660 image: files of one folder, their names by Rock Ridge for Linux and by Joliet for Windows. SEED.md has its layout. Nothing in it depends on the time or the host.
/// </summary>
internal static class IsoImage
{
    private const int SectorBytes = 2048, SystemSectors = 16, FilesMax = 8, FileBytesMax = 1 << 20;
    // One sector each: three descriptors, the path tables of both trees in both byte orders, both folders, the continuation of Rock Ridge.
    private const int PrimaryAt = 16, JolietAt = 17, EndAt = 18, PathsAt = 19, JolietPathsAt = 21, FolderAt = 23, JolietFolderAt = 24, ContinuationAt = 25, FilesAt = 26;
    private const int PathTableBytes = 10, RootRecordBytes = 34;
    private const byte IsFolder = 2;

    internal static byte[] Of(string label, IReadOnlyList<IsoFile> files)
    {
        if (files.Count > FilesMax || files.Any(f => f.Content.Length > FileBytesMax)) throw new ArgumentException("a seed is a handful of small files", nameof(files));
        var sorted = files.OrderBy(f => f.Name, StringComparer.Ordinal).ToArray();
        var places = new int[sorted.Length];
        var end = FilesAt;
        for (var i = 0; i < sorted.Length; i++) (places[i], end) = (end, end + Sectors(sorted[i].Content.Length));
        var image = new byte[end * SectorBytes];
        Descriptor(Sector(image, PrimaryAt), label, Encoding.ASCII, 1, end, PathsAt, FolderAt);
        Descriptor(Sector(image, JolietAt), label, Encoding.BigEndianUnicode, 2, end, JolietPathsAt, JolietFolderAt);
        Head(Sector(image, EndAt), 255);
        PathTables(image, PathsAt, FolderAt);
        PathTables(image, JolietPathsAt, JolietFolderAt);
        Folder(Sector(image, FolderAt), FolderAt, sorted, places, rockRidge: true);
        Folder(Sector(image, JolietFolderAt), JolietFolderAt, sorted, places, rockRidge: false);
        RockRidge.Continuation(Sector(image, ContinuationAt));
        for (var i = 0; i < sorted.Length; i++) sorted[i].Content.CopyTo(image, places[i] * SectorBytes);
        return image;
    }

    /// <summary>An empty file has a place too.</summary>
    private static int Sectors(int bytes) => Math.Max(1, (bytes + SectorBytes - 1) / SectorBytes);

    private static Span<byte> Sector(byte[] image, int number) => image.AsSpan(number * SectorBytes, SectorBytes);

    private static void Head(Span<byte> sector, byte type)
    {
        sector[0] = type;
        "CD001"u8.CopyTo(sector[1..]);
        sector[6] = 1;
    }

    private static void Descriptor(Span<byte> sector, string label, Encoding encoding, byte type, int sectors, int paths, int folder)
    {
        Head(sector, type);
        Text(sector.Slice(8, 32), "", encoding);
        Text(sector.Slice(40, 32), label, encoding);
        Both32(sector[80..], sectors);
        if (type == 2) "%/E"u8.CopyTo(sector[88..]); // Joliet, level 3
        Both16(sector[120..], 1);
        Both16(sector[124..], 1);
        Both16(sector[128..], SectorBytes);
        Both32(sector[132..], PathTableBytes);
        BinaryPrimitives.WriteInt32LittleEndian(sector[140..], paths);
        BinaryPrimitives.WriteInt32BigEndian(sector[148..], paths + 1);
        Record(sector.Slice(156, RootRecordBytes), [0], folder, SectorBytes, IsFolder);
        Text(sector.Slice(190, 128 * 4), "", encoding);
        Text(sector.Slice(702, 37 * 3), "", encoding);
        // Sixteen digits and an offset each: zeros for a time that is not given.
        for (var date = 813; date < 881; date++) sector[date] = (date - 813) % 17 == 16 ? (byte)0 : (byte)'0';
        sector[881] = 1;
    }

    /// <summary>Filled with spaces.</summary>
    private static void Text(Span<byte> field, string text, Encoding encoding)
    {
        if (encoding == Encoding.ASCII) field.Fill((byte)' ');
        else for (var i = 0; i < field.Length; i++) field[i] = i % 2 == 0 ? (byte)0 : (byte)' ';
        if (field.Length % 2 == 1 && encoding != Encoding.ASCII) field[^1] = 0;
        encoding.GetBytes(text, field);
    }

    private static void PathTables(byte[] image, int at, int folder)
    {
        foreach (var (table, isBig) in new[] { (at, false), (at + 1, true) })
        {
            var sector = Sector(image, table);
            sector[0] = 1;
            if (isBig) BinaryPrimitives.WriteInt32BigEndian(sector[2..], folder);
            else BinaryPrimitives.WriteInt32LittleEndian(sector[2..], folder);
            if (isBig) BinaryPrimitives.WriteInt16BigEndian(sector[6..], 1);
            else BinaryPrimitives.WriteInt16LittleEndian(sector[6..], 1);
        }
    }

    private static void Folder(Span<byte> sector, int at, IsoFile[] files, int[] places, bool rockRidge)
    {
        var used = Record(sector, [0], at, SectorBytes, IsFolder, rockRidge ? RockRidge.OfRoot(ContinuationAt) : []);
        used += Record(sector[used..], [1], at, SectorBytes, IsFolder, rockRidge ? RockRidge.OfParent() : []);
        for (var i = 0; i < files.Length; i++)
        {
            // The plain name is for readers that know neither: eight and three capitals, in the order of the real ones.
            var name = rockRidge ? Encoding.ASCII.GetBytes(Plain(files[i].Name, i)) : Encoding.BigEndianUnicode.GetBytes(files[i].Name);
            used += Record(sector[used..], name, places[i], files[i].Content.Length, 0, rockRidge ? RockRidge.OfFile(files[i].Name) : []);
        }
    }

    private static string Plain(string name, int index) => $"{string.Concat(name.Where(char.IsAsciiLetterOrDigit).Take(7)).ToUpperInvariant()}{index}.;1";

    private static int Record(Span<byte> at, ReadOnlySpan<byte> name, int sector, int bytes, byte flags, byte[]? system = null)
    {
        var systemAt = 33 + name.Length + (name.Length % 2 == 0 ? 1 : 0);
        var length = systemAt + (system?.Length ?? 0);
        length += length % 2;
        at[0] = (byte)length;
        Both32(at[2..], sector);
        Both32(at[10..], bytes);
        (at[18], at[19], at[20]) = (80, 1, 1); // 1980-01-01: a date that every reader knows
        at[25] = flags;
        Both16(at[28..], 1);
        at[32] = (byte)name.Length;
        name.CopyTo(at[33..]);
        system?.CopyTo(at[systemAt..]);
        return length;
    }

    internal static void Both16(Span<byte> at, short value)
    {
        BinaryPrimitives.WriteInt16LittleEndian(at, value);
        BinaryPrimitives.WriteInt16BigEndian(at[2..], value);
    }

    internal static void Both32(Span<byte> at, int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(at, value);
        BinaryPrimitives.WriteInt32BigEndian(at[4..], value);
    }
}
