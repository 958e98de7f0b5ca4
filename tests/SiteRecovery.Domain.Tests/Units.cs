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
    [InlineData("siterecovery.service", "ProtectSystem=full", "What is replicated does not change the host's own programs.")]
    [InlineData("siterecovery-agent.service", "ProtectSystem=full", "The same of the agent, which is root.")]
    public void A_unit_says(string unit, string line, string because) =>
        Assert.True(File.ReadAllLines(Path.Combine(Repository.Root, "deploy", "systemd", unit)).Contains(line), $"{unit} lacks '{line}'. {because}");

    /// <summary>For a user that is not root each of these means NoNewPrivileges, under which QEMU's setuid helper joins no bridge; or it takes disks and /dev/kvm away.</summary>
    [Theory]
    [InlineData("siterecovery.service", "NoNewPrivileges", "SystemCall", "Restrict", "Private", "ProtectKernel", "ProtectClock", "ProtectHostname", "MemoryDenyWriteExecute", "DynamicUser", "LockPersonality", "ProtectHome", "Device")]
    [InlineData("siterecovery-agent.service", "ProtectClock", "PrivateDevices", "PrivateTmp", "PrivateUsers", "MemoryDenyWriteExecute", "DynamicUser", "ProtectHome", "Device")]
    public void A_unit_does_not_confine_what_QEMU_and_disks_need(string unit, params string[] settings) => Assert.DoesNotContain(
        File.ReadAllLines(Path.Combine(Repository.Root, "deploy", "systemd", unit)), line => settings.Any(s => line.StartsWith(s, StringComparison.Ordinal)) || line == "ProtectSystem=strict");
}
