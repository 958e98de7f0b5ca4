using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>An open file as it is, for a test's own to differ from in what it is about.</summary>
internal abstract class AroundFile(IBlockFile file) : IBlockFile
{
    public long LengthBytes => file.LengthBytes;
    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
    public virtual void Read(long offset, Span<byte> into) => file.Read(offset, into);
    public virtual void Expect(long offset, long length) => file.Expect(offset, length);
    public virtual void Write(long offset, ReadOnlySpan<byte> from) => file.Write(offset, from);
    public virtual void Zero(long offset, long length) => file.Zero(offset, length);
    public virtual void Flush() => file.Flush();
    public void ForgetCached() => file.ForgetCached();
    public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
    public virtual void Dispose() => file.Dispose();
}
