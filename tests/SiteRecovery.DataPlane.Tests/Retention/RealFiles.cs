using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>The operating system's files, with something of a test's own around those that are opened.</summary>
internal abstract class RealFiles : IFileSystem
{
    protected static RealFileSystem Real => RealFileSystem.Instance;

    IBlockFile IFileSystem.Open(string path, FileOpening how) => Around(path, Real.Open(path, how));

    protected virtual IBlockFile Around(string path, IBlockFile file) => file;

    public bool Exists(string path) => Real.Exists(path);
    public bool FolderExists(string path) => Real.FolderExists(path);
    public void CreateDirectory(string path) => Real.CreateDirectory(path);
    public IReadOnlyList<string> List(string folder) => Real.List(folder);
    public IReadOnlyList<string> Folders(string folder) => Real.Folders(folder);
    public virtual byte[]? TryReadAll(string path) => Real.TryReadAll(path);
    public virtual void Replace(string path, ReadOnlySpan<byte> content) => Real.Replace(path, content);
    public virtual void Delete(string path) => Real.Delete(path);
    public void DeleteFolder(string path) => Real.DeleteFolder(path);
    public virtual void Rename(string from, string to) => Real.Rename(from, to);
    public virtual void FlushFolder(string folder) => Real.FlushFolder(folder);
    public virtual long FreeBytes(string path) => Real.FreeBytes(path);
}
