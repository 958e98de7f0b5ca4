using System.ComponentModel;
using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>
/// Keeps a disk for this process: QEMU and other locking openers refuse a file that is held, and a held one is noticed here.
/// The lock goes with the process, however it ends.
/// </summary>
public sealed class DiskLock : IDisposable
{
    private const int ReadWrite = 2, Exclusive = 0x80, CloseOnExec = 0x80000, SetOpenFileLock = 37;
    private const int WouldBlock = 11, AccessDenied = 13, Busy = 16;
    private int _descriptor;

    private DiskLock(int descriptor) => _descriptor = descriptor;

    /// <summary>Null where another process holds the file, or the block device is mounted.</summary>
    /// <exception cref="IOException">The disk cannot be opened for writing.</exception>
    public static DiskLock? TryTake(string path)
    {
        // O_EXCL without O_CREAT means nothing for files; for a block device it fails where the device is mounted or held.
        var isDevice = path.StartsWith("/dev/", StringComparison.Ordinal);
        var descriptor = Posix.Open(path, ReadWrite | CloseOnExec | (isDevice ? Exclusive : 0), 0);
        if (descriptor < 0)
        {
            var error = Marshal.GetLastPInvokeError();
            return error == Busy ? null : throw new IOException($"{path} cannot be opened for writing: {new Win32Exception(error).Message}");
        }
        // The bytes that QEMU's image locks lie on.
        var range = new FileLock { Type = FileLock.Write, Start = 100, Length = 104 };
        if (isDevice || Posix.Control(descriptor, SetOpenFileLock, ref range) == 0) return new DiskLock(descriptor);
        var refused = Marshal.GetLastPInvokeError();
        _ = Posix.Close(descriptor);
        // A file system without locks cannot say who else has the file.
        return refused is WouldBlock or AccessDenied ? null : new DiskLock(-1);
    }

    public void Dispose()
    {
        var held = Interlocked.Exchange(ref _descriptor, -1);
        if (held >= 0) _ = Posix.Close(held);
    }
}

/// <summary>struct flock of 64-bit Linux.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileLock
{
    internal const short Write = 1;
    internal short Type, Whence;
    internal long Start, Length;
    internal int Process;
}
