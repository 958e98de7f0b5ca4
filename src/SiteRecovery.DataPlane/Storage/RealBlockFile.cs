using Microsoft.Win32.SafeHandles;

namespace SiteRecovery.DataPlane.Storage;

/// <summary>A real file or block device through positional reads and writes. After an I/O error the caller re-opens it.</summary>
public sealed class RealBlockFile : IBlockFile
{
    private const int PunchHoleKeepSize = 0x01 | 0x02, ZeroRangeKeepSize = 0x10 | 0x01;
    private const int WillNeed = 3, DoNotNeed = 4;
    private const int SeekData = 3, SeekHole = 4, SeekEnd = 2, NoSuchData = 6;
    private const int Interrupted = 4, Invalid = 22, ReadOnlyFileSystem = 30;
    private readonly SafeFileHandle _handle;
    private readonly bool _isDevice;

    public RealBlockFile(string path, FileOpening how)
    {
        _handle = File.OpenHandle(path,
            how == FileOpening.Create ? FileMode.OpenOrCreate : FileMode.Open,
            how == FileOpening.Read ? FileAccess.Read : FileAccess.ReadWrite, FileShare.ReadWrite);
        _isDevice = path.StartsWith("/dev/", StringComparison.Ordinal);
    }

    public long LengthBytes => _isDevice ? Posix.Seek(Descriptor, 0, SeekEnd) : RandomAccess.GetLength(_handle);

    private int Descriptor => (int)_handle.DangerousGetHandle();

    public void SetLength(long lengthBytes) => RandomAccess.SetLength(_handle, lengthBytes);

    public void Read(long offset, Span<byte> into)
    {
        while (into.Length > 0)
        {
            var count = RandomAccess.Read(_handle, into, offset);
            if (count == 0)
            {
                into.Clear();
                return;
            }
            offset += count;
            into = into[count..];
        }
    }

    public void Expect(long offset, long length) => _ = Posix.Advise(_handle, offset, length, WillNeed);

    public void Write(long offset, ReadOnlySpan<byte> from) => RandomAccess.Write(_handle, from, offset);

    public void Zero(long offset, long length)
    {
        if (length <= 0) return;
        if (Posix.Allocate(Descriptor, PunchHoleKeepSize, offset, length) == 0) return;
        if (Posix.Allocate(Descriptor, ZeroRangeKeepSize, offset, length) == 0) return;
        ReadOnlySpan<byte> zeroes = new byte[(int)Math.Min(length, 64 << 10)];
        for (; length > 0; offset += zeroes.Length, length -= zeroes.Length)
            Write(offset, zeroes[..(int)Math.Min(length, zeroes.Length)]);
    }

    /// <summary>Without the times of the file, which would cost a journal commit each and which nobody needs after a crash.</summary>
    public void Flush()
    {
        while (Posix.FlushData(_handle) != 0)
        {
            var error = System.Runtime.InteropServices.Marshal.GetLastPInvokeError();
            if (error == Interrupted) continue;
            if (error is Invalid or ReadOnlyFileSystem) return; // nothing that could be flushed
            throw new IOException($"flush failed: {System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(error)}", error);
        }
    }

    /// <summary>Linux keeps pages that it could not write as if it had; only those that are clean go, and not those that another process has mapped.</summary>
    public void ForgetCached() => _ = Posix.Advise(_handle, 0, 0, DoNotNeed);

    public (long Length, bool Hole) RunAt(long offset)
    {
        var end = LengthBytes;
        if (_isDevice) return (end - offset, false);
        var data = Posix.Seek(Descriptor, offset, SeekData);
        if (data < 0) return System.Runtime.InteropServices.Marshal.GetLastPInvokeError() == NoSuchData ? (end - offset, true) : (end - offset, false);
        if (data > offset) return (data - offset, true);
        var hole = Posix.Seek(Descriptor, offset, SeekHole);
        return ((hole < 0 ? end : hole) - offset, false);
    }

    public void Dispose() => _handle.Dispose();
}
