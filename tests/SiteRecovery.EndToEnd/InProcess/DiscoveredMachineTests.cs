using System.Net.Http.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>The agent says which machines its host's hypervisor has, and a machine is protected by its name there.</summary>
[Trait("Category", "Slow"), Collection(OnTwoSites.Name)]
public sealed class DiscoveredMachineTests : IAsyncLifetime
{
    private readonly TwoSites _sites;
    private readonly QemuHypervisor _host;

    public DiscoveredMachineTests(TwoSites sites) =>
        (_sites, _host) = (sites, new QemuHypervisor(sites.At("host1"), new QemuOptions { Accelerators = "tcg" }, RealFileSystem.Instance, TimeProvider.System));

    [Fact]
    public async Task A_machine_is_protected_by_the_name_that_its_hypervisor_has_for_it()
    {
        await DefineAsync("found-erp", new MachineDisk { Target = "vda", Bus = "virtio", Source = _sites.NewDisk("found-erp.raw", 2 << 20) },
            new MachineDisk { Target = "vdb", Bus = "virtio", Source = _sites.NewDisk("found-swap.raw") },
            new MachineDisk { Target = "hdc", Bus = "ide", Device = DiskDevice.CdRom });
        var listed = await ListedAsync("found-erp");
        Assert.Equal(("stopped", 2, 64L << 20, "bios"), ((string)listed["state"]!, (int)listed["cpuCount"]!, (long)listed["memoryBytes"]!, (string)listed["firmware"]!));
        Assert.Equal([$"vda {_sites.At("found-erp.raw")} {2 << 20} true", $"vdb {_sites.At("found-swap.raw")} {1 << 20} true"], Disks(listed));
        Assert.Equal("cdrom", (string)listed["definition"]!["disks"]![2]!["device"]!);

        var srctl = new Srctl(Directory.CreateDirectory(_sites.At("found-config")).FullName, _sites.Stop);
        Assert.Contains("found-erp", (await srctl.DoneAsync("agent", "machines", "host1", "--data", _sites.At("secondary"))).Out, StringComparison.Ordinal);
        string[] protect = ["machine", "protect", "erp", "--vault", "main", "--agent", "host1", "--domain", "found-erp", "--exclude-disk", "vdb", "--idempotency-key", "found-once", "--data", _sites.At("secondary")];
        await srctl.DoneAsync(protect);
        await _sites.UntilStateAsync("erp", "Protected");
        // Repeated, the agent is not asked: by now the disk is the machine's own.
        await srctl.DoneAsync(protect);

        var machine = await _sites.MachineAsync("erp");
        var disk = Assert.Single(machine["disks"]!.AsArray())!;
        Assert.Equal(("vda", _sites.At("found-erp.raw"), 2L << 20), ((string)disk["id"]!, (string)disk["path"]!, (long)disk["sizeBytes"]!));
        Assert.Contains($"vda is {disk["captureUri"]}, not {disk["path"]}", (string)machine["sourceChange"]!, StringComparison.Ordinal);
        Assert.Contains("<reconnect delay='60'/>", (string)machine["sourceChange"]!, StringComparison.Ordinal);
        Assert.Equal([$"vda {_sites.At("found-erp.raw")} {2 << 20} false"], Disks(await ListedAsync("found-erp")).Take(1));

        // What the hypervisor said of the machine went with it: the replica has its processors and its disk, and goes without the other one and the medium.
        await _sites.UntilAsync(async () => (await _sites.MachineAsync("erp"))["newestPoint"] is not null);
        await _sites.ActAsync("erp", "test-failover", new { point = "latest" });
        var replica = MachineDefinition.FromJson(await File.ReadAllBytesAsync(Directory.GetFiles(_sites.At("secondary/machines"), "erp*.machine.json").Single(), _sites.Stop));
        Assert.Equal(("found-erp", 2, "vda"), (replica.ReplicaOf, replica.CpuCount, string.Join(',', replica.Disks.Select(d => d.Target))));
        await _sites.ActAsync("erp", "test-failover-cleanup");
    }

    [Fact]
    public async Task A_disk_that_cannot_be_captured_is_refused_unless_it_is_excluded()
    {
        await DefineAsync("found-odd", new MachineDisk { Target = "vda", Bus = "virtio", Source = _sites.NewDisk("odd.raw") },
            new MachineDisk { Target = "vdb", Bus = "virtio", Source = _sites.NewDisk("odd.qcow2"), Format = "qcow2" },
            new MachineDisk { Target = "vdc", Bus = "virtio", Source = _sites.At("odd-missing.raw") },
            new MachineDisk { Target = "vdd", Bus = "virtio", Source = "nbd://storage.example:10809/odd" });
        var refused = await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1", domain = "found-odd" }), 422, "disksNotCapturable");
        Assert.Equal(["vdb", "vdc", "vdd"], refused["disks"]!.AsArray().Select(d => (string)d!["target"]!));
        Assert.All(refused["disks"]!.AsArray(), d => Assert.NotEmpty((string)d!["remedy"]!));
        Assert.Contains("qemu-img convert", (string)refused["remedy"]!, StringComparison.Ordinal);

        await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1", domain = "found-odd" }, "vdx"), 400, "invalid");
        await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1", domain = "found-odd" }, "vda", "vdb", "vdc", "vdd"), 422, "noDisks");
        await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1", domain = "found-none" }), 404, "unknownDomain");
        await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1", domain = "found-odd", disks = new[] { new { id = "vda", path = _sites.At("odd.raw") } } }), 400, "invalid");
        await TwoSites.ProblemAsync(await ProtectAsync(new { agent = "host1" }), 400, "invalid");
        using var accepted = await ProtectAsync(new { agent = "host1", domain = "found-odd" }, "vdb", "vdc", "vdd");
        Assert.True(accepted.IsSuccessStatusCode, await accepted.Content.ReadAsStringAsync(_sites.Stop));
    }

    /// <summary>Its replica would hand that file of the target's host to a guest whose disks the same agent wrote.</summary>
    [Fact]
    public async Task A_machine_that_boots_from_any_file_is_refused_whoever_says_so()
    {
        await DefineAsync(new DirectKernel("/boot/vmlinuz", _sites.At("secondary/pki/ca.key")), "found-curious", new MachineDisk { Target = "vda", Bus = "virtio", Source = _sites.NewDisk("curious.raw") });
        var refused = await TwoSites.ProblemAsync(await ProtectAsAsync("curious", new { agent = "host1", domain = "found-curious" }), 422, "bootFileMisplaced");
        Assert.Contains("ca.key", (string)refused["detail"]!, StringComparison.Ordinal);
        Assert.Contains("siterecovery.hypervisor.boot-folders", (string)refused["remedy"]!, StringComparison.Ordinal);
        using var given = await _sites.Http.PostAsJsonAsync("/api/v1/machines", new
        {
            name = "curious", vault = "main", source = new { agent = "host1", disks = new[] { new { id = "vda", path = _sites.At("curious.raw") } } },
            definition = new
            {
                name = "curious", machineType = "q35", cpuCount = 1, memoryBytes = 1 << 27, disks = new[] { new { target = "vda", bus = "virtio" } },
                firmware = new { kind = "uefi", loader = "/usr/share/OVMF/../../../etc/siterecovery/store.key" },
            },
        }, _sites.Stop);
        Assert.Contains("store.key", (string)(await TwoSites.ProblemAsync(given, 422, "bootFileMisplaced"))["detail"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_agent_that_cannot_list_machines_says_why()
    {
        await TwoSites.ProblemAsync(await _sites.Http.GetAsync("/api/v1/agents/nobody/machines", _sites.Stop), 404, "notFound");
        using (var token = await _sites.Http.PostAsJsonAsync("/api/v1/agents/join-tokens", new { site = "primary" }, _sites.Stop))
            await File.WriteAllTextAsync(_sites.At("found.token"), (string)(await token.Content.ReadFromJsonAsync<JsonNode>(_sites.Stop))!["token"]!, _sites.Stop);
        foreach (var (hypervisor, says) in new[] { (null, "--hypervisor"), ("test:///sr/none.xml", "libvirt") })
        {
            var problem = await RefusedByAgentAsync(hypervisor);
            Assert.Contains(says, $"{problem["detail"]} {problem["remedy"]}", StringComparison.Ordinal);
            await _sites.UntilAsync(async () => !(bool)(await _sites.GetAsync("/api/v1/agents/host9"))["connected"]!);
        }
        await TwoSites.ProblemAsync(await _sites.Http.GetAsync("/api/v1/agents/host9/machines", _sites.Stop), 503, "agentNotConnected");
    }

    private async Task<JsonNode> RefusedByAgentAsync(string? hypervisor)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_sites.Stop);
        await using var agent = await AgentService.StartAsync(new AgentOptions(_sites.At("agent9"), _sites.Http.BaseAddress!.ToString(), _sites.At("found.token"), "host9", Hypervisor: hypervisor), TimeProvider.System, stop.Token);
        var running = agent.RunAsync(stop.Token);
        await _sites.UntilAsync(async () => (bool)(await _sites.GetAsync("/api/v1/agents/host9"))["connected"]!);
        var problem = await TwoSites.ProblemAsync(await _sites.Http.GetAsync("/api/v1/agents/host9/machines", _sites.Stop), 422, "agentRefused");
        await stop.CancelAsync();
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return problem;
    }

    private static string[] Disks(JsonNode machine) => [.. machine["disks"]!.AsArray().Select(d => $"{d!["target"]} {d["source"]} {d["sizeBytes"]} {((bool)d["canBeCaptured"]! ? "true" : "false")}")];

    private async Task<JsonNode> ListedAsync(string name)
    {
        // One at a time, to go through the pages as well.
        for (var cursor = "0"; cursor is not null;)
        {
            var page = await _sites.GetAsync($"/api/v1/agents/host1/machines?limit=1&cursor={cursor}");
            if ((string)page["items"]![0]!["name"]! == name) return page["items"]![0]!;
            cursor = (string?)page["nextCursor"];
        }
        throw new InvalidOperationException($"{name} is not listed");
    }

    private Task<HttpResponseMessage> ProtectAsync(object source, params string[] excludeDisks) => ProtectAsAsync("odd", source, excludeDisks);

    private Task<HttpResponseMessage> ProtectAsAsync(string name, object source, params string[] excludeDisks) =>
        _sites.Http.PostAsJsonAsync("/api/v1/machines", new { name, vault = "main", source, excludeDisks }, _sites.Stop);

    private Task DefineAsync(string name, params MachineDisk[] disks) => DefineAsync(null, name, disks);

    private Task DefineAsync(DirectKernel? kernel, string name, params MachineDisk[] disks) =>
        _host.DefineAsync(new MachineDefinition { Name = name, MachineType = "pc", CpuCount = 2, MemoryBytes = 64L << 20, Disks = disks, Kernel = kernel }, _sites.Stop);

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _host.DisposeAsync();
}
