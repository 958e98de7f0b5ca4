using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>Whether the agent of this host can capture a machine's disk: it opens a file or a device, and serves it to the machine as raw.</summary>
/// <param name="ourSocket">Where the agent serves its exports.</param>
/// <param name="ownerOf">The protected machine that a path is a disk of; null for none.</param>
/// <param name="folders">Where disks are captured; null: anywhere.</param>
public sealed class DiskDiscovery(string ourSocket, Func<string, string?> ownerOf, IFileSystem files, DiskFolders? folders = null)
{
    private const string Otherwise = "or leave it out by name (excludeDisks): the replica is then without it";

    public HostDisk Judge(MachineDisk disk)
    {
        if (disk.Source is not { } source) return Refused(disk, "nothing is in it", $"Give the machine's disk a file or device, {Otherwise}.");
        if (NbdAddress.IsNbd(source))
            return IsOurs(source)
                ? Refused(disk, "it is an export of this agent already", "The machine is protected, or was: look for it with srctl machine list; give the disk its own file or device before it is protected anew.")
                : Refused(disk, "its storage is served over the network", $"Protect it with an agent on the host that serves it, {Otherwise}.");
        if (!source.StartsWith('/'))
            return Refused(disk, $"its storage, {source}, is no file or device of this host", $"Name the file or device in the machine's definition, {Otherwise}.");
        if (disk.Format != "raw")
            return Refused(disk, $"its format is {disk.Format}, and only raw can be captured", $"Stop the machine, convert the disk (qemu-img convert -O raw) and give it the new file, {Otherwise}.");
        if (ownerOf(source) is { } owner)
            return Refused(disk, $"it is protected already, as a disk of {owner}", $"End that protection (srctl machine disable {owner}), {Otherwise}.");
        if (folders is not null && !folders.Hold(source))
            return Refused(disk, $"it is in none of the folders whose disks this agent protects ({folders})", $"Move it there, or start the agent with --disk-folder for its folder, too, {Otherwise}.");
        return Opened(disk, source);
    }

    private HostDisk Opened(MachineDisk disk, string path)
    {
        try
        {
            if (!files.Exists(path)) return Refused(disk, $"{path} does not exist on the agent's host", $"Bring the file back, correct the machine's definition, {Otherwise}.");
            using var file = files.Open(path, FileOpening.Read);
            return file.LengthBytes > 0 ? new HostDisk(disk.Target, path, file.LengthBytes) : Refused(disk, $"{path} is empty", $"Give it its size, {Otherwise}.");
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            return Refused(disk, $"it cannot be opened: {problem.Message}", $"Let the agent's user read and write it, {Otherwise}.");
        }
    }

    private bool IsOurs(string source)
    {
        try
        {
            return NbdAddress.Parse(source).Socket == ourSocket;
        }
        catch (HypervisorException)
        {
            return false;
        }
    }

    private static HostDisk Refused(MachineDisk disk, string problem, string remedy) => new(disk.Target, disk.Source, disk.SizeBytes, problem, remedy);
}
