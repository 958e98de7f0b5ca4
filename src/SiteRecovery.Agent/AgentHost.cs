using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Agent;

/// <summary>What an agent stands on: whose files, clock and disks, and where its machines' writes go. Everything that it does for its machines comes in through here.</summary>
/// <param name="Folder">Its data folder; a full path.</param>
/// <param name="Socket">Where its disks are served.</param>
/// <param name="Target">Where the machines' writes go.</param>
/// <param name="Hypervisor">Of this host; null: none is known.</param>
public sealed record AgentHost(string Folder, string Socket, IFileSystem Files, TimeProvider Time, NbdExports Exports, NbdServer Nbd, IStreamTarget Target, IHypervisor? Hypervisor = null)
{
    /// <summary>Keeps a disk for this agent; null: another program has it open.</summary>
    public Func<string, IDisposable?> TakeDisk { get; init; } = DiskLock.TryTake;
    /// <summary>Where the disks lie that are protected from now on; null: anywhere.</summary>
    public DiskFolders? DiskFolders { get; init; }
    public TextWriter Log { get; init; } = Console.Error;
    /// <summary>What waits in memory of a machine's writes until they are sent; beyond it they are tracked, and sent later.</summary>
    public int BufferBytes { get; init; } = CaptureOptions.BufferBytesDefault;
    public long SequencesReserved { get; init; } = CaptureOptions.SequencesReservedDefault;

    public string MachinesFolder => Path.Combine(Folder, "machines");

    /// <summary>Before anything else is said of a path that somebody far away has named: that it is there is nobody's business, either.</summary>
    /// <exception cref="AgentProblem">It lies in none of <see cref="DiskFolders"/>.</exception>
    public void CheckPlace(string path)
    {
        if (DiskFolders is { } folders && !folders.Hold(path))
            throw new AgentProblem($"the disk {path} is in none of the folders whose disks this agent protects ({folders}), links followed: name it by its full path, move it there, or start the agent with --disk-folder for its folder, too");
    }

    /// <exception cref="AgentProblem">There is no such disk, it is a folder, or it is empty.</exception>
    public long SizeOf(string path)
    {
        if (!Files.Exists(path)) throw new AgentProblem(Files.FolderExists(path) ? $"{path} is a folder: name a file or a block device" : $"the disk {path} does not exist on this host");
        using var file = Files.Open(path, FileOpening.Read);
        return file.LengthBytes > 0 ? file.LengthBytes : throw new AgentProblem($"the disk {path} is empty");
    }

    /// <summary>
    /// Asked before a disk is protected for the first time, and never again: what is protected is raw, and whatever its guest writes to its beginning is its own affair. A block device is no exception:
    /// hypervisors keep images on volumes, too.
    /// </summary>
    /// <exception cref="AgentProblem">It begins as an image of another format, whose content its replica could not show.</exception>
    public void CheckRaw(string path)
    {
        Span<byte> head = stackalloc byte[ImageFormat.HeadBytes];
        using (var file = Files.Open(path, FileOpening.Read)) file.Read(0, head);
        if (ImageFormat.Of(head) is not { } format) return;
        throw new AgentProblem($"the disk {path} is a {format} image, and only raw disks are protected: stop its machine, convert it (qemu-img convert -O raw {path} {path}.raw), give the machine the raw one, and protect that");
    }

    /// <exception cref="AgentProblem">It is in use by another program.</exception>
    public IDisposable Take(string path) =>
        TakeDisk(path) ?? throw new AgentProblem($"the disk {path} is in use by another program: stop its machine, then let the machine open the disk at the address that protection gives it");
}
