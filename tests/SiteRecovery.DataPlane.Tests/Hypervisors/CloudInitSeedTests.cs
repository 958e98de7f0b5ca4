using System.Diagnostics;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Hypervisors.Seeds;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

/// <summary>The seed as others read it: util-linux and cdrkit's isoinfo.</summary>
public sealed class CloudInitSeedTests : IDisposable
{
    private static readonly NetworkMapping Mapping = new("main", "v1", [],
        [new SubnetRule("10.0.0.0/24", new SubnetTarget("10.9.0.0/24", "10.9.0.1")), new SubnetRule("fd00:1::/64", new SubnetTarget("fd00:9::/64", "fe80::1", ["fd00:9::53"]), new SubnetTarget("fd00:99::/64"))],
        [new NicRule("db1", "1", new CardConfiguration(["192.168.7.5/24"], [], ["192.168.7.53"], ["dr.example"]), Interface: "ens4")]);

    private static readonly MachineDefinition Source = Machines.Everything with
    {
        Nics =
        [
            Machines.Everything.Nics[0] with { Addresses = ["10.0.0.5/24", "fd00:1::5/64"], Gateways = ["10.0.0.1"] },
            Machines.Everything.Nics[1],
            new MachineNic { Mac = "52:54:00:6d:90:04" },
        ],
    };

    private readonly string _path = Path.GetTempFileName();

    [Fact]
    public async Task The_label_is_found_and_the_files_are_read_by_Rock_Ridge_and_by_Joliet()
    {
        var seed = Seed(ReplicaPurpose.Failover)!;
        await File.WriteAllBytesAsync(_path, seed);
        Assert.Equal("iso9660 cidata", $"{await RunAsync("/usr/sbin/blkid", "-p", "-o", "value", "-s", "TYPE", _path)} {await RunAsync("/usr/sbin/blkid", "-p", "-o", "value", "-s", "LABEL", _path)}");
        Assert.Contains("Rock Ridge signatures version 1 found", await RunAsync("isoinfo", "-d", "-i", _path), StringComparison.Ordinal);
        Assert.Contains("Joliet with UCS level 3 found", await RunAsync("isoinfo", "-d", "-i", _path), StringComparison.Ordinal);
        foreach (var names in (string[])["-R", "-J"])
        {
            Assert.Equal("/meta-data /network-config /user-data", string.Join(' ', (await RunAsync("isoinfo", names, "-f", "-i", _path)).Split('\n', StringSplitOptions.RemoveEmptyEntries)));
            Assert.Equal(Network, await RunAsync("isoinfo", names, "-x", "/network-config", "-i", _path) + "\n");
            Assert.Matches("^instance-id: siterecovery-[0-9a-f]{16}$", await RunAsync("isoinfo", names, "-x", "/meta-data", "-i", _path));
            Assert.StartsWith("#cloud-config\n", await RunAsync("isoinfo", names, "-x", "/user-data", "-i", _path), StringComparison.Ordinal);
        }
        Assert.Contains("-r--r--r--", await RunAsync("isoinfo", "-R", "-l", "-i", _path), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_tests_seed_is_for_the_cards_of_the_test_and_has_its_addresses()
    {
        await File.WriteAllBytesAsync(_path, Seed(ReplicaPurpose.Test)!);
        var network = await RunAsync("isoinfo", "-R", "-x", "/network-config", "-i", _path);
        var macs = Machines.Test.Make(Source).Nics.Select(n => n.Mac).ToArray();
        Assert.All(macs, mac => Assert.Contains($"macaddress: \"{mac}\"", network, StringComparison.Ordinal));
        Assert.DoesNotContain(Source.Nics[0].Mac, network, StringComparison.Ordinal);
        Assert.Contains("\"fd00:99::5/64\"", network, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_cards_give_the_same_image_and_other_addresses_another_instance()
    {
        Assert.Equal(Seed(ReplicaPurpose.Failover), Seed(ReplicaPurpose.Failover));
        Assert.NotEqual(Instance(Seed(ReplicaPurpose.Failover)!), Instance(Seed(ReplicaPurpose.Failover, home: true)!));
        Assert.Equal(0, Seed(ReplicaPurpose.Failover)!.Length % 2048);
    }

    /// <summary>Readers at hand are lenient about it; SUSP 5.3 is not.</summary>
    [Fact]
    public void The_root_folder_says_that_it_has_system_use_entries() => Assert.Equal("SP\u0007\u0001\u00BE\u00EF\0", System.Text.Encoding.Latin1.GetString(Seed(ReplicaPurpose.Failover)!, 23 * 2048 + 34, 7));

    [Fact]
    public void Where_no_rule_is_for_a_card_there_is_no_seed() => Assert.Null(CloudInitSeed.Of(Source, Source, NetworkPlan.Of(Mapping with { Subnets = [], Nics = [] }, new MachineId("db1"), false, false)));

    [Fact]
    public void A_seed_is_the_last_device_so_that_no_card_changes_its_place()
    {
        var replica = Machines.Test.Make(Machines.Everything with { Firmware = new MachineFirmware() }) with { Nics = [Machines.Everything.Nics[0] with { Network = null }] };
        string[] Devices(MachineDefinition machine) => [.. QemuArguments.Of(machine, new QemuOptions(), QemuFiles.Of("/m", "db1-test"), "q35", null) is var a ? a.Where((_, i) => i > 0 && a[i - 1] is "-device" or "-blockdev") : []];
        var (without, with) = (Devices(replica), Devices(replica with { Seed = "/s/db1.iso" }));
        Assert.Equal(without, with[..^2]);
        Assert.Equal(["{\"driver\":\"file\",\"filename\":\"/s/db1.iso\",\"node-name\":\"disk2\",\"discard\":\"unmap\",\"read-only\":true}", "virtio-blk-pci,drive=disk2,serial=siterecovery-seed"], with[^2..]);
    }

    [Fact]
    public void Libvirt_gets_it_as_a_read_only_disk_and_knows_it_again()
    {
        var replica = Machines.Test.Make(Machines.Everything) with { Seed = "/s/db1.iso" };
        var xml = DomainXml.Build(replica, new LibvirtHost("kvm", "hvm", "x86_64", []));
        Assert.Contains("<target dev=\"vdb\" bus=\"virtio\" />", xml, StringComparison.Ordinal);
        var back = DomainXml.Parse(xml);
        Assert.Equal(("/s/db1.iso", 2), (back.Seed, back.Disks.Count));
        Assert.Contains("<readonly />", xml, StringComparison.Ordinal);
    }

    [Fact]
    public void A_bus_that_is_full_is_refused_by_name()
    {
        var full = Machines.Everything with
        {
            Firmware = new MachineFirmware(), Nics = [], Seed = "/s/db1.iso", Disks = [.. ((string[])["hda", "hdb", "hdc", "hdd"]).Select(t => new MachineDisk { Target = t, Bus = "ide", Source = "/" + t })],
        };
        Assert.Contains("hde is one too many", Assert.Throws<HypervisorException>(() => QemuArguments.Of(full, new QemuOptions(), QemuFiles.Of("/m", "a"), "pc", null)).Message, StringComparison.Ordinal);
    }

    public void Dispose() => File.Delete(_path);

    private static byte[]? Seed(ReplicaPurpose purpose, bool home = false) =>
        CloudInitSeed.Of(Source, (Machines.Test with { Purpose = purpose }).Make(Source), NetworkPlan.Of(Mapping, new MachineId("db1"), home, purpose == ReplicaPurpose.Test));

    private static string Instance(byte[] seed) => System.Text.Encoding.ASCII.GetString(seed) is var text ? text[text.IndexOf("siterecovery-", StringComparison.Ordinal)..][..29] : "";

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var problems = process.StandardError.ReadToEndAsync();
        var said = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {await problems}");
        return said.TrimEnd('\n');
    }

    private const string Network = """
        version: 2
        ethernets:
          "nic0":
            match: {macaddress: "52:54:00:6d:90:02"}
            dhcp4: false
            dhcp6: false
            addresses: ["10.9.0.5/24", "fd00:9::5/64"]
            gateway4: "10.9.0.1"
            gateway6: "fe80::1"
            nameservers: {addresses: ["fd00:9::53"], search: []}
          "ens4":
            match: {macaddress: "52:54:00:6d:90:03"}
            dhcp4: false
            dhcp6: false
            addresses: ["192.168.7.5/24"]
            nameservers: {addresses: ["192.168.7.53"], search: ["dr.example"]}
          "nic2":
            match: {macaddress: "52:54:00:6d:90:04"}
            dhcp4: true

        """;
}
