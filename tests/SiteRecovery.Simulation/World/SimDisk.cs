using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// A disk with its file system that tells live from durable bytes: data of a file is durable once the file was flushed, names in a folder once the folder was.
/// Deterministic; safe for concurrent calls.
/// </summary>
public sealed partial class SimDisk : IFileSystem
{
    public const int SectorBytes = 512;
    private const string BootIdPath = "/proc/sys/kernel/random/boot_id";
    private readonly Lock _gate = new();
    private readonly SimFolder _root;
    private long _pages;
    private bool _off;

    public SimDisk() : this(new Guid(1, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]), new SimFolder(), long.MaxValue)
    {
    }

    private SimDisk(Guid bootId, SimFolder root, long capacityBytes)
    {
        (BootId, _root, CapacityBytes) = (bootId, root, capacityBytes);
        _pages = PagesBelow(root);
    }

    /// <summary>Of the host that the disk is in.</summary>
    public Guid BootId { get; }
    public long CapacityBytes { get; set; }
    public long UsedBytes => _pages * SimContent.PageBytes;
    /// <summary>How many I/Os have changed something.</summary>
    public long Changes { get; private set; }
    /// <summary>Called after each I/O that changed something, with no lock held.</summary>
    public Action<SimIo>? After { get; set; }
    /// <summary>Says which I/Os fail.</summary>
    public Func<SimIo, Fault>? Faults { get; set; }
    /// <summary>Told of each sector of a file that a flush which failed has not written.</summary>
    public Action<string, long>? Lost { get; set; }
    /// <summary>Told of a file of which a flush has failed.</summary>
    public Action<string>? FlushFailed { get; set; }
    /// <summary>Told of a file that shows from here on what is on the disk.</summary>
    public Action<string>? Forgot { get; set; }
    /// <summary>What an I/O costs, in virtual time.</summary>
    public Action<SimIo>? Cost { get; set; }

    public IBlockFile Open(string path, FileOpening how)
    {
        SimInode file;
        SimIo? created = null;
        lock (_gate)
        {
            ThrowIfOff();
            var (folder, name) = FolderOf(path);
            if (folder.Live.TryGetValue(name, out var node)) file = node as SimInode ?? throw new UnauthorizedAccessException($"{path} is a folder");
            else if (how != FileOpening.Create) throw new FileNotFoundException($"there is no {path}", path);
            else
            {
                created = Begin(IoKind.Create, path);
                if (UsedBytes + SimContent.PageBytes > CapacityBytes) throw NoSpace(path);
                folder.Change(new EntryChange(name, file = new SimInode { Linked = true }, null));
            }
            file.Opens++;
        }
        if (created is { } io) End(io);
        return new SimFile(this, file, path, how == FileOpening.Read);
    }

    public bool Exists(string path)
    {
        lock (_gate) return Find(path) is SimInode;
    }

    public bool FolderExists(string path) => FolderAt(path) is not null;

    /// <summary>Also the names of the folders are durable when it returns.</summary>
    public void CreateDirectory(string path)
    {
        if (Path.GetDirectoryName(path) is not { } parent) return;
        if (FolderAt(path) is null)
        {
            CreateDirectory(parent);
            Do(IoKind.MakeFolder, path, _ => FolderOf(path).Folder.Change(new EntryChange(Path.GetFileName(path), new SimFolder(), null)));
        }
        FlushFolder(parent);
    }

    public IReadOnlyList<string> List(string folder) => Within(folder, folders: false);

    public IReadOnlyList<string> Folders(string folder) => Within(folder, folders: true);

    private IReadOnlyList<string> Within(string folder, bool folders)
    {
        lock (_gate) return Find(folder) is SimFolder found ? [.. found.Live.Where(e => e.Value is SimFolder == folders).Select(e => Path.Combine(folder, e.Key))] : [];
    }

    public byte[]? TryReadAll(string path)
    {
        if (path == BootIdPath) return System.Text.Encoding.ASCII.GetBytes(BootId.ToString());
        if (!Exists(path)) return null;
        using var file = Open(path, FileOpening.Read);
        var bytes = new byte[file.LengthBytes];
        file.Read(0, bytes);
        return bytes;
    }

    public void Replace(string path, ReadOnlySpan<byte> content)
    {
        var temporary = path + ".tmp";
        using (var file = Open(temporary, FileOpening.Create))
        {
            file.SetLength(0);
            file.Write(0, content);
            file.Flush();
        }
        Rename(temporary, path);
        FlushFolder(Path.GetDirectoryName(path)!);
    }

    public void Delete(string path)
    {
        lock (_gate)
            if (!FolderOf(path).Folder.Live.ContainsKey(Path.GetFileName(path))) return;
        Do(IoKind.Delete, path, _ => Unlink(FolderOf(path)));
    }

    public void DeleteFolder(string path)
    {
        if (FolderAt(path) is null) return;
        Do(IoKind.DeleteFolder, path, _ => Unlink(FolderOf(path)));
    }

    public void Rename(string from, string to) => Do(IoKind.Rename, from, _ =>
    {
        var ((folder, name), (target, newName)) = (FolderOf(from), FolderOf(to));
        if (!folder.Live.TryGetValue(name, out var node)) throw new FileNotFoundException($"there is no {from}", from);
        if (target.Live.TryGetValue(newName, out var former) && former != node)
        {
            if (node is SimFolder || former is SimFolder) throw new IOException($"{to} is there already");
            Forget(former);
        }
        if (folder == target)
        {
            folder.Change(new EntryChange(newName, node, name));
            return;
        }
        var move = new Move();
        target.Change(new EntryChange(newName, node, null, move));
        folder.Change(new EntryChange(name, null, null, move));
    });

    public void FlushFolder(string folder)
    {
        if (FolderAt(folder) is null) return;
        Do(IoKind.FlushFolder, folder, _ => ((SimFolder)Find(folder)!).Flush());
    }

    public long FreeBytes(string path) => CapacityBytes - UsedBytes;

    private void Do(IoKind kind, string path, Action<SimIo> change)
    {
        SimIo io;
        lock (_gate)
        {
            io = Begin(kind, path);
            change(io);
        }
        End(io);
    }

    /// <summary>Under the gate, before anything changes.</summary>
    private SimIo Begin(IoKind kind, string path, long offset = 0, long length = 0)
    {
        var io = new SimIo(Changes + 1, kind, path, offset, length);
        if (FaultOf(io) != Fault.None) throw Broken(path);
        Changes++;
        return io;
    }

    private Fault FaultOf(SimIo io)
    {
        ThrowIfOff();
        Cost?.Invoke(io);
        return Faults?.Invoke(io) ?? Fault.None;
    }

    private void End(SimIo io) => After?.Invoke(io);

    private void ThrowIfOff()
    {
        if (_off) throw new IOException("the host is off");
    }

    private const int ErrIo = 5; // as .NET hands on what the kernel says

    private static IOException Broken(string path) => new($"Input/output error : '{path}'", ErrIo);

    private static IOException NoSpace(string path) => new($"No space left on device : '{path}'");

    private void Unlink((SimFolder Folder, string Name) entry)
    {
        Forget(entry.Folder.Live[entry.Name]);
        entry.Folder.Change(new EntryChange(entry.Name, null, null));
    }

    /// <summary>A node has no name any more.</summary>
    private void Forget(SimNode node)
    {
        if (node is SimFolder folder)
            foreach (var child in folder.Live.Values) Forget(child);
        else if (node is SimInode file)
        {
            file.Linked = false;
            if (file.Opens == 0) _pages -= file.Live.Pages;
        }
    }

    private SimFolder? FolderAt(string path)
    {
        lock (_gate) return Find(path) as SimFolder;
    }

    private SimNode? Find(string path)
    {
        SimNode? node = _root;
        foreach (var name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
            if (node is not SimFolder folder || !folder.Live.TryGetValue(name, out node)) return null;
        return node;
    }

    private (SimFolder Folder, string Name) FolderOf(string path)
    {
        if (!Path.IsPathFullyQualified(path)) throw new ArgumentException($"{path} is no absolute path");
        return Find(Path.GetDirectoryName(path)!) is SimFolder folder ? (folder, Path.GetFileName(path)) : throw new DirectoryNotFoundException($"there is no folder for {path}");
    }

    private static long PagesBelow(SimFolder folder) => folder.Live.Values.Sum(n => n is SimFolder below ? PagesBelow(below) : ((SimInode)n).Live.Pages);
}
