using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.Capture;

/// <summary>A file whose flushes a test is told of before they are done, and whose results it holds back.</summary>
internal sealed class WatchedFile(IBlockFile file) : IBlockFile
{
    /// <summary>Given the flush, which it has to do.</summary>
    internal Action<Action>? Flushing { get; set; }

    public long LengthBytes => file.LengthBytes;
    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
    public void Read(long offset, Span<byte> into) => file.Read(offset, into);
    public void Write(long offset, ReadOnlySpan<byte> from) => file.Write(offset, from);
    public void Zero(long offset, long length) => file.Zero(offset, length);
    public void ForgetCached() => file.ForgetCached();
    public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
    public void Dispose() => file.Dispose();

    public void Flush()
    {
        if (Flushing is { } flushing) flushing(file.Flush);
        else file.Flush();
    }
}
