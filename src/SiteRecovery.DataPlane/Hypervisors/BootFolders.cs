using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <param name="What">As a sentence goes on behind the machine's name: "its kernel '/x'".</param>
/// <param name="Why">What is wrong with the place.</param>
public sealed record MisplacedBootFile(string What, string Why);

/// <summary>
/// The folders whose files a definition may name for its boot. A definition is what the source's host says, and is run on another one, by a guest whose disks are the source's too: whoever holds
/// a source could read any other file of that host by it.
/// </summary>
/// <param name="folders">Absolute paths; "/" allows every file.</param>
public sealed class BootFolders(IReadOnlyList<string> folders)
{
    public const string Setting = "siterecovery.hypervisor.boot-folders";

    /// <summary>Where distributions have kernels and firmware. (Some keep keys of disks in an initial RAM disk in /boot: there another list is better.)</summary>
    public static BootFolders Default { get; } = new(["/boot", "/usr/share/OVMF", "/usr/share/ovmf", "/usr/share/AAVMF", "/usr/share/edk2", "/usr/share/edk2-ovmf", "/usr/share/qemu"]);

    public IReadOnlyList<string> Folders => folders;

    /// <summary>By its name alone: the host that it is said of may be another one. Firmware, of which each host has its own where it does not have what is named, is looked at where it runs.</summary>
    /// <returns>Null: all are where they may be.</returns>
    public MisplacedBootFile? Misplaced(MachineDefinition machine) => First(Kernels(machine), path => Within(path, folders)) ?? First(Firmware(machine), _ => true);

    /// <summary>Where the links of this host lead, too. What is not here at all may be named: nobody can open it.</summary>
    public MisplacedBootFile? MisplacedHere(MachineDefinition machine)
    {
        try
        {
            string[] real = [.. folders.Select(f => Posix.Resolved(f) ?? f)];
            return Misplaced(machine) ?? First([.. Kernels(machine), .. Firmware(machine).Where(f => Posix.Resolved(f.Path) is not null)],
                path => Within(path, folders) && (Posix.Resolved(path) is not { } resolved || Within(resolved, real)));
        }
        catch (IOException closed)
        {
            return new MisplacedBootFile("a file that it boots from", $"cannot be looked at by this node's user ({closed.Message})");
        }
    }

    private MisplacedBootFile? First(IEnumerable<(string Role, string Path)> files, Func<string, bool> isAllowed) => files
        .Where(file => !IsPlain(file.Path) || !isAllowed(file.Path))
        .Select(file => new MisplacedBootFile($"its {file.Role} '{file.Path}'", $"is in none of the folders that a machine may boot from ({string.Join(", ", folders)})"))
        .FirstOrDefault();

    private static IEnumerable<(string Role, string Path)> Kernels(MachineDefinition machine)
    {
        if (machine.Kernel?.Kernel is { } kernel) yield return ("kernel", kernel);
        if (machine.Kernel?.InitialRamDisk is { } disk) yield return ("initialRamDisk", disk);
    }

    private static IEnumerable<(string Role, string Path)> Firmware(MachineDefinition machine)
    {
        if (machine.Firmware is not { Kind: FirmwareKind.Uefi } firmware) yield break; // a BIOS is the host's own
        if (firmware.Loader is { } loader) yield return ("firmware loader", loader);
        if (firmware.VariablesTemplate is { } template) yield return ("firmware variablesTemplate", template);
    }

    /// <summary>One way to write it, and one file: QEMU takes commas in an initial RAM disk's name for the end of the first of several.</summary>
    private static bool IsPlain(string path) => path.StartsWith('/') && !path.Contains(',') && !path.Any(char.IsControl) && Path.GetFullPath(path) == path;

    private static bool Within(string path, IEnumerable<string> folders) => folders.Any(f => path.StartsWith(f.TrimEnd('/') + "/", StringComparison.Ordinal));
}
