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
        MachineDefinition[] machines =
        [
            Everything with { Firmware = new MachineFirmware(), Kernel = new DirectKernel(path) },
            Everything with { Firmware = new MachineFirmware(), Kernel = new DirectKernel("/boot/vmlinuz", path) },
        ];
        Assert.All(machines, machine => Assert.Equal(isAllowed, BootFolders.Default.Misplaced(machine) is null));
    }

    /// <summary>Where what a source's host names for it is not here, the hypervisor takes its own.</summary>
    [Theory]
    [InlineData("/etc/hostname", true, false)]
    [InlineData("/usr/share/OVMF/../../../etc/hostname", false, false)]
    [InlineData("/run/elsewhere/OVMF_CODE.fd", true, true)]
    public void Firmware_is_looked_at_where_it_is(string path, bool byName, bool here)
    {
        var uefi = new MachineFirmware(FirmwareKind.Uefi);
        MachineDefinition[] machines = [Everything with { Kernel = null, Firmware = uefi with { Loader = path } }, Everything with { Kernel = null, Firmware = uefi with { VariablesTemplate = path } }];
        Assert.All(machines, machine => Assert.Equal((byName, here), (BootFolders.Default.Misplaced(machine) is null, BootFolders.Default.MisplacedHere(machine) is null)));
    }

    [Fact]
    public void What_a_machine_does_not_boot_from_is_not_looked_at_and_the_root_allows_every_file()
    {
        Assert.Null(BootFolders.Default.Misplaced(Everything with { Firmware = new MachineFirmware(FirmwareKind.Bios, Loader: "/srv/bios.bin"), Kernel = null }));
        Assert.Null(new BootFolders(["/"]).MisplacedHere(Everything with { Kernel = new DirectKernel("/etc/hostname") }));
        Assert.NotNull(new BootFolders([]).Misplaced(Everything with { Kernel = new DirectKernel("/boot/vmlinuz") }));
    }
}
