using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class LibvirtHostTests
{
    private const string Capabilities = """
        <capabilities><host/>
          <guest><os_type>hvm</os_type><arch name='aarch64'><machine>virt</machine><domain type='qemu'/></arch></guest>
          <guest><os_type>hvm</os_type><arch name='x86_64'><machine canonical='pc-q35-7.2'>q35</machine><machine>pc-q35-7.2</machine><domain type='qemu'/><domain type='kvm'/></arch></guest>
        </capabilities>
        """;

    [Fact]
    public void KVM_is_taken_where_it_is_offered_unless_another_is_asked_for()
    {
        Assert.Equal("kvm", LibvirtHost.For(Capabilities, "x86_64", null).DomainType);
        Assert.Equal("qemu", LibvirtHost.For(Capabilities, "x86_64", "qemu").DomainType);
        Assert.Equal("qemu", LibvirtHost.For(Capabilities, "aarch64", null).DomainType);
        Assert.Equal(["q35", "pc-q35-7.2"], LibvirtHost.For(Capabilities, "x86_64", null).MachineTypes);
    }

    [Fact]
    public void A_host_that_cannot_run_the_machine_says_what_it_offers()
    {
        Assert.Contains("no hypervisor for s390x", Assert.Throws<HypervisorException>(() => LibvirtHost.For(Capabilities, "s390x", null)).Message, StringComparison.Ordinal);
        Assert.Contains("offers qemu and not kvm", Assert.Throws<HypervisorException>(() => LibvirtHost.For(Capabilities, "aarch64", "kvm")).Message, StringComparison.Ordinal);
    }
}
