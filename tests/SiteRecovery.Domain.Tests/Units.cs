namespace SiteRecovery.Domain.Tests;

/// <summary>Lines of the systemd units without which machines go down or stay down. Nothing here runs systemd.</summary>
public sealed class Units
{
    [Theory]
    [InlineData("siterecovery-agent.service", "Type=notify", "Machines that libvirt starts at boot are started when their disks are served.")]
    [InlineData("siterecovery-agent.service", "Before=libvirtd.service virtqemud.service libvirt-guests.service", "The same, and disks go after the machines.")]
    [InlineData("siterecovery-agent.service", "KillMode=process", "Machines that QEMU runs directly live in the unit's control group.")]
    [InlineData("siterecovery.service", "KillMode=process", "The same of replicas.")]
    [InlineData("siterecovery.service", "SupplementaryGroups=kvm", "Without /dev/kvm replicas are emulated.")]
    [InlineData("siterecovery-agent.service", "UMask=0077", "With --socket-group others pass through its folder.")]
    [InlineData("siterecovery.service", "UMask=0077", "The same with socket-group.")]
    public void A_unit_says(string unit, string line, string because) =>
        Assert.True(File.ReadAllLines(Path.Combine(Repository.Root, "deploy", "systemd", unit)).Contains(line), $"{unit} lacks '{line}'. {because}");
}
