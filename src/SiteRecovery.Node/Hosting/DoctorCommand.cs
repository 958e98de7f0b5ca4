using System.CommandLine;

namespace SiteRecovery.Node.Hosting;

/// <summary><c>siterecovery doctor</c>: what this host has, what is missing, and how to get it.</summary>
public static class DoctorCommand
{
    private sealed record Tool(string Name, string Package, string NeededFor, bool Required);

    private static readonly Tool[] Tools =
    [
        new("qemu-system-x86_64", "qemu-system-x86", "replica machines and demo --vm", false),
        new("qemu-img", "qemu-utils", "tests and converting exported disks", false),
        new("nbdinfo", "libnbd-bin", "tests and looking at exports by hand", false),
        new("nbdkit", "nbdkit", "the benchmarks' comparison", false),
        new("fio", "fio", "tests and benchmarks of the write path", false),
        new("virsh", "libvirt-clients", "libvirt hosts", false),
    ];

    public static Command Create()
    {
        var data = new Option<string?>("--data") { Description = "Also check that this folder can hold a node's data, and how long its certificates last (a node's or an agent's)" };
        var command = new Command("doctor", "Say what is missing on this host and how to get it") { data };
        command.SetAction(arguments =>
        {
            var folder = arguments.GetValue(data);
            var healthy = folder is null || FolderIsUsable(folder);
            foreach (var (good, line) in folder is null ? [] : CertificateCheck.Of(folder, TimeProvider.System))
            {
                Console.WriteLine(line);
                healthy &= good;
            }
            foreach (var tool in Tools)
            {
                var found = Find(tool.Name);
                Console.WriteLine(found is not null
                    ? $"ok       {tool.Name} ({found})"
                    : $"missing  {tool.Name}: needed for {tool.NeededFor}; apt-get install {tool.Package}");
                healthy &= found is not null || !tool.Required;
            }
            Console.WriteLine(OfKvm("/dev/kvm"));
            return healthy ? 0 : 1;
        });
        return command;
    }

    private static bool FolderIsUsable(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            var probe = Path.Combine(folder, ".doctor");
            File.WriteAllText(probe, "");
            File.Delete(probe);
            Console.WriteLine($"ok       {folder} is writable, {new DriveInfo(Path.GetFullPath(folder)).AvailableFreeSpace >> 30} GiB free");
            return true;
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            Console.WriteLine($"broken   {folder}: {problem.Message}; give the account that runs the node write access");
            return false;
        }
    }

    /// <summary>QEMU falls back to emulation without it, ten times slower, and says so only at the machine's start.</summary>
    /// <param name="device">/dev/kvm.</param>
    public static string OfKvm(string device)
    {
        if (!Path.Exists(device)) return $"missing  {device}: this host has no hardware virtualization, or it is switched off in the firmware; machines that QEMU runs here are emulated";
        try
        {
            using var opened = File.Open(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return $"ok       {device} can be opened by {Environment.UserName}";
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return $"warning  {device} cannot be opened by {Environment.UserName}: {refused.Message}; machines that QEMU runs as this user are emulated. Put it into the group kvm (usermod -aG kvm {Environment.UserName}, or SupplementaryGroups=kvm in the unit)";
        }
    }

    private static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
}
