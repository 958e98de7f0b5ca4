using System.Text;

namespace SiteRecovery.DataPlane.Nbd;

public static class UnixSocketPath
{
    /// <summary>sun_path of Linux holds 108 bytes with its closing zero.</summary>
    public const int BytesMax = 107;

    /// <exception cref="IOException">The operating system cannot bind a socket there.</exception>
    public static string Checked(string path) => Encoding.UTF8.GetByteCount(path) <= BytesMax
        ? path
        : throw new IOException($"the socket {path} would have a path of more than {BytesMax} bytes, which the operating system refuses: use a shorter data directory");
}
