using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Capture;

/// <summary>A state folder whose disk can be made to hang.</summary>
internal sealed class SlowReplacing : IFileSystem
{
    private readonly RealFileSystem _real = RealFileSystem.Instance;
    public ManualResetEventSlim Door { get; } = new(true);
    public volatile bool IsFull;
    public Exception Refusal { get; init; } = new IOException("it is full");
    /// <summary>Files that have a name keep it.</summary>
    public volatile bool KeepsNames;

    public IBlockFile Open(string path, FileOpening how) => _real.Open(path, how);
    public bool Exists(string path) => _real.Exists(path);
    public bool FolderExists(string path) => _real.FolderExists(path);
    public void CreateDirectory(string path) => _real.CreateDirectory(path);
    public IReadOnlyList<string> List(string folder) => _real.List(folder);
    public IReadOnlyList<string> Folders(string folder) => _real.Folders(folder);
    public byte[]? TryReadAll(string path) => _real.TryReadAll(path);
    public void DeleteFolder(string path) => RealFileSystem.Instance.DeleteFolder(path);
    public void Rename(string from, string to) => _real.Rename(from, to);
    public void FlushFolder(string folder) => _real.FlushFolder(folder);
    public long FreeBytes(string path) => _real.FreeBytes(path);

    public void Delete(string path)
    {
        if (KeepsNames) throw Refusal;
        _real.Delete(path);
    }

    public void Replace(string path, ReadOnlySpan<byte> content)
    {
        if (!Door.Wait(TimeSpan.FromSeconds(30))) throw new IOException("hangs");
        if (IsFull) throw Refusal;
        _real.Replace(path, content);
    }
}
