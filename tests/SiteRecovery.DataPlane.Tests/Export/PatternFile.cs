using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Export;

/// <summary>A file of given bytes that refuses writes and whose reads take a while when told to, so that copies overlap.</summary>
internal sealed class PatternFile(byte[] content) : IBlockFile
{
    private readonly ManualResetEventSlim _never = new();

    public bool Slow { get; init; }
    public bool Disposed { get; private set; }
    public long LengthBytes => content.Length;

    public void Read(long offset, Span<byte> into)
    {
        if (Slow) _never.Wait(TimeSpan.FromMilliseconds(1));
        content.AsSpan((int)offset, into.Length).CopyTo(into);
    }

    public (long Length, bool Hole) RunAt(long offset) => (content.Length - offset, false);
    public void SetLength(long lengthBytes) => throw new ReadOnlyDeviceException("read-only");
    public void Write(long offset, ReadOnlySpan<byte> from) => throw new ReadOnlyDeviceException("read-only");
    public void Zero(long offset, long length) => throw new ReadOnlyDeviceException("read-only");
    public void Flush() => throw new ReadOnlyDeviceException("read-only");

    public void Dispose()
    {
        Disposed = true;
        _never.Dispose();
    }
}
