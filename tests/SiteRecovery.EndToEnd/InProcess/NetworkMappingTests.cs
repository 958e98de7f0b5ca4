using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>Networks and addresses of replica machines, from the operator's words to what the guest reads.</summary>
[Collection(OnTwoSites.Name), Trait("Category", "Slow")]
public sealed class NetworkMappingTests(TwoSites sites)
{
    private const string Mac = "52:54:00:0a:0b:0c";
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost", "pointsRemoved"];

    [Fact]
    public async Task A_machine_gets_the_networks_and_addresses_of_a_test_of_a_failover_and_of_its_home()
    {
        await GuestDisk.CreateAsync(sites.At("net1.raw"), 48 << 20);
        await PutAsync("vaults/nets", new { sourceSite = "primary", targetSite = "secondary" });
        await PutAsync("network-mappings/nets", Mapping("nets"));
        await ProtectAsync("net1", "nets");

        await sites.ActAsync("net1", "test-failover");
        var test = (await sites.MachineAsync("net1"))["tests"]![0]!;
        var heard = await HearAsync((string)test["console"]!);
        var replica = Definition("secondary", "net1-test-*");
        Assert.Null(replica["nics"]![0]!["network"]);
        Assert.Contains($"match: {{macaddress: \"{replica["nics"]![0]!["mac"]}\"}}", heard, StringComparison.Ordinal);
        Assert.Contains("addresses: [\"10.99.0.5/24\", \"fd00:9::5/64\"]", heard, StringComparison.Ordinal);
        await sites.ActAsync("net1", "test-failover-cleanup");
        Assert.Empty(Seeds("secondary"));

        await sites.ActAsync("net1", "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        heard = await HearAsync((string)(await sites.MachineAsync("net1"))["console"]!);
        Assert.Equal("user", (string)Definition("secondary", "net1")["nics"]![0]!["network"]!);
        Assert.Contains($"match: {{macaddress: \"{Mac}\"}}", heard, StringComparison.Ordinal);
        Assert.Contains("addresses: [\"10.9.0.5/24\", \"fd00:9::5/64\"]", heard, StringComparison.Ordinal);
        Assert.Contains("gateway4: \"10.9.0.1\"", heard, StringComparison.Ordinal);
        Assert.Contains("nameservers: {addresses: [\"10.9.0.53\"], search: []}", heard, StringComparison.Ordinal);

        await sites.UntilAsync(async () => (bool?)(await sites.MachineAsync("net1"))["sourceFenced"] == true);
        await sites.ActAsync("net1", "commit");
        await sites.ActAsync("net1", "reverse-replicate");
        await sites.ActAsync("net1", "unplanned-failover", new { point = "latest", acknowledge = Acknowledge });
        heard = await HearAsync((string)(await sites.MachineAsync("net1"))["console"]!);
        Assert.Equal("user", (string)Definition("primary", "net1")["nics"]![0]!["network"]!);
        Assert.Contains("addresses: [\"10.0.0.5/24\", \"fd00:1::5/64\"]", heard, StringComparison.Ordinal);
        await sites.UntilAsync(() => Task.FromResult(Seeds("secondary").Length == 0));
        Assert.Single(Seeds("primary"));
        await sites.ActAsync("net1", "cancel-failover", new { acknowledge = Acknowledge });
    }

    [Fact]
    public async Task What_is_wrong_with_a_mapping_is_said_and_one_in_use_stays()
    {
        await PutAsync("vaults/strict", new { sourceSite = "primary", targetSite = "secondary" });
        Assert.Contains("'nowhere'", await RefusedAsync("strict", new { vault = "nowhere" }, 404, "notFound"), StringComparison.Ordinal);
        Assert.Contains("needs a vault", await RefusedAsync("strict", new { }, 400, "invalid"), StringComparison.Ordinal);
        Assert.Contains("is smaller than 10.0.0.0/24", await RefusedAsync("strict", new { vault = "strict", subnets = new[] { new { source = "10.0.0.0/24", failover = new { subnet = "10.1.0.0/25" } } } }, 400, "invalid"), StringComparison.Ordinal);
        Assert.Contains("subnets[0].failover.subnet", await RefusedAsync("strict", new { vault = "strict", subnets = new[] { new { source = "10.0.0.0/24" } } }, 400, "invalid"), StringComparison.Ordinal);
        Assert.Contains("holds null", await RefusedAsync("strict", new { vault = "strict", networks = new object?[] { null } }, 400, "invalid"), StringComparison.Ordinal);
        Assert.Contains("failovr", await RefusedAsync("strict", new { vault = "strict", networks = new[] { new { source = "user", failovr = "user" } } }, 400, "invalid"), StringComparison.Ordinal);

        await PutAsync("network-mappings/strict", new { vault = "strict" });
        Assert.Contains("has the network mapping 'strict' already", await RefusedAsync("second", new { vault = "strict" }, 409, "inUse"), StringComparison.Ordinal);
        await TwoSites.ProblemAsync(await sites.Http.DeleteAsync("/api/v1/vaults/strict", sites.Stop), 409, "inUse");
        using (var protect = await sites.ProtectAsync("strict1", sites.NewDisk("strict1.raw"), vault: "strict")) Assert.True(protect.IsSuccessStatusCode);
        Assert.Contains("has machines", (string)(await TwoSites.ProblemAsync(await sites.Http.DeleteAsync("/api/v1/network-mappings/strict", sites.Stop), 409, "inUse"))["detail"]!, StringComparison.Ordinal);
        await PutAsync("vaults/other", new { sourceSite = "primary", targetSite = "secondary" });
        Assert.Contains("has machines", await RefusedAsync("strict", new { vault = "other" }, 409, "inUse"), StringComparison.Ordinal);
        Assert.Contains("is in vault 'strict'", await RefusedAsync("other", new { vault = "other", nics = new[] { new { machine = "strict1", nic = "0", @interface = "ens3" } } }, 400, "invalid"), StringComparison.Ordinal);
        await PutAsync("network-mappings/other", new { vault = "other" });
        using var deleted = await sites.Http.DeleteAsync("/api/v1/network-mappings/other", sites.Stop);
        Assert.Equal(204, (int)deleted.StatusCode);
    }

    [Fact]
    public async Task Addresses_in_a_definition_are_looked_at_when_it_is_given()
    {
        var path = sites.NewDisk("badnic.raw");
        var refused = await sites.Http.PostAsJsonAsync("/api/v1/machines", new
        {
            name = "badnic", vault = "main", source = new { agent = "host1", disks = new[] { new { id = "vda", path } } },
            definition = new
            {
                name = "badnic", machineType = "pc", cpuCount = 1, memoryBytes = 1 << 27, disks = new[] { new { target = "vda", bus = "virtio" } },
                nics = new[] { new { mac = Mac, addresses = new[] { "10.0.0.5" } } },
            },
        }, sites.Stop);
        Assert.Contains("definition.nics[0].addresses", (string)(await TwoSites.ProblemAsync(refused, 400, "invalid"))["detail"]!, StringComparison.Ordinal);
    }

    private static object Mapping(string vault) => new
    {
        vault,
        networks = new[] { new { source = "bridge:lan", failover = "user", failback = "user" } },
        subnets = new object[]
        {
            new { source = "10.0.0.0/24", failover = new { subnet = "10.9.0.0/24", gateway = "10.9.0.1", dns = new[] { "10.9.0.53" } }, test = new { subnet = "10.99.0.0/24" } },
            new { source = "fd00:1::/64", failover = new { subnet = "fd00:9::/64" } },
        },
    };

    private async Task ProtectAsync(string machine, string vault)
    {
        var image = await GuestImage.BuiltAsync();
        using var protect = await sites.Http.PostAsJsonAsync("/api/v1/machines", new
        {
            name = machine, vault, policy = "default", source = new { agent = "host1", disks = new[] { new { id = "vda", path = sites.At($"{machine}.raw") } } },
            definition = new
            {
                name = machine, machineType = "pc", cpuCount = 1, memoryBytes = GuestMachine.MemoryMiB * (1L << 20),
                kernel = new { kernel = image.Kernel, initialRamDisk = image.InitialRamDisk, commandLine = GuestMachine.KernelLine },
                disks = new[] { new { target = "vda", bus = "virtio" } },
                nics = new[] { new { mac = Mac, network = "bridge:lan", addresses = new[] { "10.0.0.5/24", "fd00:1::5/64" }, gateways = new[] { "10.0.0.1" } } },
            },
        }, sites.Stop);
        Assert.True(protect.IsSuccessStatusCode, await protect.Content.ReadAsStringAsync(sites.Stop));
        await sites.UntilStateAsync(machine, "Protected");
    }

    private async Task PutAsync(string path, object body)
    {
        using var answer = await sites.Http.PutAsJsonAsync($"/api/v1/{path}", body, sites.Stop);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(sites.Stop));
    }

    private async Task<string> RefusedAsync(string name, object body, int status, string code) =>
        (string)(await TwoSites.ProblemAsync(await sites.Http.PutAsJsonAsync($"/api/v1/network-mappings/{name}", body, sites.Stop), status, code))["detail"]!;

    private JsonNode Definition(string site, string name) => JsonNode.Parse(File.ReadAllText(Directory.GetFiles(sites.At(site + "/machines"), name + ".machine.json").Single()))!;

    private string[] Seeds(string site) => Directory.GetDirectories(sites.At(site), "seeds", SearchOption.AllDirectories).SelectMany(Directory.GetFiles).ToArray();

    /// <summary>The network configuration that the guest has read of its seed before it was ready.</summary>
    private async Task<string> HearAsync(string consoles)
    {
        var path = consoles.Split(", ").Single(c => c.StartsWith("serial unix:", StringComparison.Ordinal))["serial unix:".Length..];
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), sites.Stop);
        using var reader = new StreamReader(new NetworkStream(socket));
        var heard = new List<string>();
        while (await reader.ReadLineAsync(sites.Stop) is { } line)
        {
            heard.Add(line.Trim());
            if (line.StartsWith("READY ", StringComparison.Ordinal)) return string.Join('\n', heard);
        }
        throw new IOException($"the machine ended: {string.Join('\n', heard)}");
    }
}
