using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>The few C library calls that .NET has no name for.</summary>
public static partial class Posix
{
    private const int Sigterm = 15;

    /// <summary>Asks a process to end.</summary>
    public static void Terminate(int processId) => Kill(processId, Sigterm);

    private const uint OwnerOnly = 0b000_111_111;

    /// <summary>Whatever this process makes from now on, and whatever it starts makes, is its own user's alone unless it is given away by name: the first thing that a program does.</summary>
    public static void KeepFilesPrivate()
    {
        if (!OperatingSystem.IsWindows()) SetMask(OwnerOnly);
    }

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint SetMask(uint mask);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int processId, int signal);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "access", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Access(string path, int mode);

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int ChangeOwner(string path, int user, int group);

    [LibraryImport("libc", EntryPoint = "getgrnam", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial Group* GroupOf(string name);

    private static readonly Lock Groups = new(); // getgrnam answers in memory of its own

    /// <summary>The number of a group, which may be given for its name; null: there is none of the name.</summary>
    internal static unsafe int? GroupNumber(string group)
    {
        if (int.TryParse(group, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number)) return number;
        lock (Groups)
        {
            var found = GroupOf(group);
            return found == null ? null : (int)found->Number;
        }
    }

    /// <summary>The beginning of struct group.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Group
    {
        internal nint Name, Password;
        internal uint Number;
    }

    private const int PathBytesMax = 4096, NoSuchEntry = 2, NotADirectory = 20;

    /// <summary>Where a path leads once all links in it have been followed; null: to nothing.</summary>
    /// <exception cref="IOException">It cannot be told, for instance because a folder on the way is closed to this user.</exception>
    internal static string? Resolved(string path)
    {
        Span<byte> resolved = stackalloc byte[PathBytesMax];
        if (RealPath(path, resolved) != 0) return System.Text.Encoding.UTF8.GetString(resolved[..resolved.IndexOf((byte)0)]);
        var error = Marshal.GetLastPInvokeError();
        return error is NoSuchEntry or NotADirectory ? null : throw new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    [LibraryImport("libc", EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint RealPath(string path, Span<byte> resolved);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    internal static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    internal static partial int FlushData(SafeHandle file);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    internal static partial int Advise(SafeHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    internal static partial int Allocate(int descriptor, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    internal static partial int Control(int descriptor, int command, ref FileLock range);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    internal static partial long Seek(int descriptor, long offset, int whence);
}
