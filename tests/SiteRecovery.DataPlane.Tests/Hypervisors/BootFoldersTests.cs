using SiteRecovery.DataPlane.Hypervisors;
using static SiteRecovery.DataPlane.Tests.Hypervisors.Machines;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class BootFoldersTests
{
    [Theory]
    [InlineData("/boot/vmlinuz-6.1", true)]
    [InlineData("/usr/share/OVMF/OVMF_CODE_4M.fd", true)]
    [InlineData("/boot", false)]
    [InlineData("/bootleg/vmlinuz", false)]
    [InlineData("/boot/../etc/siterecovery/store.key", false)]
    [InlineData("/boot//vmlinuz", false)]
    [InlineData("boot/vmlinuz", false)]
    [InlineData("", false)]
    [InlineData("/dev/zero", false)]
    [InlineData("/boot/x,/var/lib/siterecovery/pki/ca.key", false)]
    [InlineData("/boot/x\0/y", false)]
    public void A_machine_names_files_of_boot_folders_only(string path, bool isAllowed)
    {
        var uefi = new MachineFirmware(FirmwareKind.Uefi);
        MachineDefinition[] machines =
        [
            Everything with { Firmware = new MachineFirmware(), Kernel = new DirectKernel(path) },
            Everything with { Firmware = new MachineFirmware(), Kernel = new DirectKernel("/boot/vmlinuz", path) },
            Everything with { Firmware = uefi with { Loader = path } },
            Everything with { Firmware = uefi with { Loader = "/usr/share/OVMF/code.fd", VariablesTemplate = path } },
        ];
        Assert.All(machines, machine => Assert.Equal(isAllowed, BootFolders.Default.Misplaced(machine) is null));
    }

    [Fact]
    public void What_a_machine_does_not_boot_from_is_not_looked_at_and_the_root_allows_every_file()
    {
        Assert.Null(BootFolders.Default.Misplaced(Everything with { Firmware = new MachineFirmware(FirmwareKind.Bios, Loader: "/srv/bios.bin"), Kernel = null }));
        Assert.Null(new BootFolders(["/"]).MisplacedHere(Everything with { Kernel = new DirectKernel("/etc/hostname") }));
        Assert.NotNull(new BootFolders([]).Misplaced(Everything with { Kernel = new DirectKernel("/boot/vmlinuz") }));
    }
}
