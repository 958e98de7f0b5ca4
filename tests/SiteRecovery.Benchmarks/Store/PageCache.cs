using System.Runtime.InteropServices;

namespace SiteRecovery.Benchmarks;

/// <summary>What the kernel keeps of files in memory.</summary>
public static partial class PageCache
{
    private const int DontNeed = 4;

    /// <summary>The next read of the file, or of all files in the folder, comes from the disk.</summary>
    public static void Forget(string path)
    {
        foreach (var file in Directory.Exists(path) ? Directory.GetFiles(path, "*", SearchOption.AllDirectories) : [path])
        {
            using var handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            RandomAccess.FlushToDisk(handle); // a page that is not written yet stays
            if (Advise(handle, 0, 0, DontNeed) is not 0 and var error) throw new IOException($"{file}: {Marshal.GetPInvokeErrorMessage(error)}");
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeHandle file, long offset, long length, int advice);
}
