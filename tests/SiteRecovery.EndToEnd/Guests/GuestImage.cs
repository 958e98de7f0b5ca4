using System.Security.Cryptography;
using System.Text;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>
/// Kernel and initramfs of the test guest: Debian's cloud kernel, its virtio modules and guest.c as the only program. Built on first
/// use, kept beside the tests' assembly until guest.c or this list changes.
/// </summary>
internal sealed record GuestImage(string Kernel, string InitialRamDisk)
{
    private const string KernelPackage = "linux-image-cloud-amd64";
    /// <summary>In the order in which they depend on each other; ext4 and the serial port are built into the kernel.</summary>
    private static readonly string[] Modules = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "cdrom", "isofs"];
    private static readonly Lazy<Task<GuestImage>> Built = new(BuildAsync);

    /// <summary>What is built lies below it.</summary>
    internal static string Cache { get; } = Path.Combine(AppContext.BaseDirectory, "Guests");

    internal static Task<GuestImage> BuiltAsync() => Built.Value;

    private static async Task<GuestImage> BuildAsync()
    {
        var source = Path.Combine(AppContext.BaseDirectory, "Guests", "guest.c");
        var modules = string.Join(",", Modules.Select(m => $"\"{m}\""));
        var key = Convert.ToHexStringLower(SHA256.HashData([.. await File.ReadAllBytesAsync(source), .. Encoding.UTF8.GetBytes(modules)]))[..12];
        var folder = Path.Combine(Cache, key);
        var image = new GuestImage(Path.Combine(folder, "vmlinuz"), Path.Combine(folder, "initrd.img"));
        if (Directory.Exists(folder)) return image;

        var work = Directory.CreateTempSubdirectory("sr-guest-").FullName;
        try
        {
            var unpacked = await UnpackKernelAsync(work);
            var root = Path.Combine(work, "root");
            Directory.CreateDirectory(Path.Combine(root, "modules"));
            foreach (var module in Modules)
                File.Copy(Directory.GetFiles(Path.Combine(unpacked, "lib", "modules"), module + ".ko", SearchOption.AllDirectories).Single(), Path.Combine(root, "modules", module + ".ko"));
            await HostProgram.RunAsync("gcc", ["-static", "-O2", "-Wall", "-Wextra", "-Werror", $"-DMODULES={modules}", "-o", Path.Combine(root, "init"), source]);
            var finished = Directory.CreateDirectory(folder + "." + Path.GetFileName(work)).FullName;
            await HostProgram.RunAsync("sh", ["-c", "find . | cpio -o -H newc --quiet > \"$0\"", Path.Combine(finished, "initrd.img")], root);
            File.Copy(Directory.GetFiles(Path.Combine(unpacked, "boot"), "vmlinuz-*").Single(), Path.Combine(finished, "vmlinuz"));
            Directory.Move(finished, folder);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
        return image;
    }

    /// <summary>Downloads the package without installing it: nothing on the host changes, and no right is needed.</summary>
    private static async Task<string> UnpackKernelAsync(string work)
    {
        var dependencies = await HostProgram.RunAsync("apt-cache", ["depends", KernelPackage]);
        var package = dependencies.Split('\n').Select(l => l.Trim()).FirstOrDefault(l => l.StartsWith("Depends: linux-image-", StringComparison.Ordinal))?["Depends: ".Length..]
            ?? throw new InvalidOperationException($"apt knows no {KernelPackage}: run apt-get update on a Debian host");
        await HostProgram.RunAsync("apt-get", ["download", "-q", package], work);
        var unpacked = Path.Combine(work, "kernel");
        await HostProgram.RunAsync("dpkg", ["-x", Directory.GetFiles(work, "*.deb").Single(), unpacked]);
        return unpacked;
    }
}
