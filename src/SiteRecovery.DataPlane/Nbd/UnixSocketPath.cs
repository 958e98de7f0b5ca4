using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Nbd;

public static class UnixSocketPath
{
    /// <summary>sun_path of Linux holds 108 bytes with its closing zero.</summary>
    public const int BytesMax = 107;

    /// <exception cref="IOException">The operating system cannot bind a socket there.</exception>
    public static string Checked(string path) => Encoding.UTF8.GetByteCount(path) <= BytesMax
        ? path
        : throw new IOException($"the socket {path} would have a path of more than {BytesMax} bytes, which the operating system refuses: use a shorter data directory");

    /// <summary>From here on its owner and this group may connect, and nobody else.</summary>
    /// <param name="group">Name or number.</param>
    /// <exception cref="IOException">There is no such group, or this process may not give it anything.</exception>
    internal static void Give(string path, string group)
    {
        if (OperatingSystem.IsWindows()) return;
        var number = Posix.GroupNumber(group) ?? throw new IOException($"there is no group '{group}' on this host, which is to open the socket {path}: make it, or name the one that the hypervisor runs its machines with");
        if (Posix.ChangeOwner(path, -1, number) != 0)
            throw new IOException($"the socket {path} cannot be given to the group '{group}': {new Win32Exception(Marshal.GetLastPInvokeError()).Message}. Whoever is not root must be in the group (SupplementaryGroups={group} in the unit)");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite);
    }
}
