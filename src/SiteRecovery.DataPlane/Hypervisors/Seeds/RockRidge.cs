using System.Text;

namespace SiteRecovery.DataPlane.Hypervisors.Seeds;

/// <summary>Entries of the system use area: names and modes as POSIX has them (SUSP and RRIP 1.10, IEEE P1281 and P1282).</summary>
internal static class RockRidge
{
    private const int HeadBytes = 4;
    private const int FolderMode = 0x4000 | 0x16D, FileMode = 0x8000 | 0x124; // r-xr-xr-x and r--r--r--
    private const string Id = "RRIP_1991A", About = "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS", Source = "SEE THE SPECIFICATION OF THE ROCK RIDGE INTERCHANGE PROTOCOL";

    /// <param name="continuation">Sector in which the entry stands that says which extension this is: it is too long for a folder's record.</param>
    internal static byte[] OfRoot(int continuation)
    {
        var ce = new byte[24]; // sector, offset in it, length
        IsoImage.Both32(ce.AsSpan(0), continuation);
        IsoImage.Both32(ce.AsSpan(16), Extension().Length + HeadBytes);
        byte[] sp = [.. Head("SP", 1, 3), 0xBE, 0xEF, 0];
        return [.. sp, .. Posix(FolderMode, 2), .. Head("CE", 1, 24), .. ce];
    }

    internal static byte[] OfParent() => Posix(FolderMode, 2);

    internal static byte[] OfFile(string name) => [.. Head("NM", 1, 1 + name.Length), 0, .. Encoding.ASCII.GetBytes(name), .. Posix(FileMode, 1)];

    internal static void Continuation(Span<byte> sector)
    {
        Head("ER", 1, Extension().Length).CopyTo(sector);
        Extension().CopyTo(sector[HeadBytes..]);
    }

    private static byte[] Extension() => [(byte)Id.Length, (byte)About.Length, (byte)Source.Length, 1, .. Encoding.ASCII.GetBytes(Id + About + Source)];

    private static byte[] Posix(int mode, int links)
    {
        var px = new byte[32];
        IsoImage.Both32(px, mode);
        IsoImage.Both32(px.AsSpan(8), links);
        return [.. Head("PX", 1, px.Length), .. px];
    }

    private static byte[] Head(string signature, byte version, int bytes) => [(byte)signature[0], (byte)signature[1], (byte)(HeadBytes + bytes), version];
}
