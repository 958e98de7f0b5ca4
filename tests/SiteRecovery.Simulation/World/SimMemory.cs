using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.World;

/// <summary>Bytes as a file that is only read.</summary>
internal sealed class SimMemory(byte[] bytes) : IBlockFile
{
    public long LengthBytes => bytes.Length;

    public void Read(long offset, Span<byte> into)
    {
        var inside = (int)Math.Clamp(bytes.Length - offset, 0, into.Length);
        into[inside..].Clear();
        bytes.AsSpan((int)Math.Min(offset, bytes.Length), inside).CopyTo(into);
    }

    public (long Length, bool Hole) RunAt(long offset) => (bytes.Length - offset, false);
    public void SetLength(long lengthBytes) => throw new NotSupportedException();
    public void Write(long offset, ReadOnlySpan<byte> from) => throw new NotSupportedException();
    public void Zero(long offset, long length) => throw new NotSupportedException();

    public void Flush()
    {
        // It is memory.
    }

    public void Dispose()
    {
        // It belongs to whoever made it.
    }
}
