using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>What every hypervisor does, on a real one.</summary>
public abstract class HypervisorContract : IAsyncLifetime
{
    protected const string SourceName = "sr-source", ReplicaName = "sr-replica";
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(5)); // a guest boots without KVM, beside whatever else runs
    private IHypervisor? _hypervisor;

    /// <summary>Short: sockets lie in it.</summary>
    protected string Folder { get; } = Directory.CreateTempSubdirectory("sr-hv-").FullName;
    protected CancellationToken Stop => _limit.Token;
    protected IHypervisor Hypervisor => _hypervisor!;

    /// <summary>As a process that was just started opens it.</summary>
    protected abstract IHypervisor Open();
    /// <summary>A network of the source's.</summary>
    protected virtual string Network => "user";
    /// <summary>False for libvirt's test driver, whose machines are but names.</summary>
    protected virtual bool RunsGuests => true;
    /// <summary>Everything of the host that a replica could leave a trace in.</summary>
    protected abstract Task<string> TracesAsync();
    protected abstract Task ForgetSourceAsync();

    protected MachineDefinition Source => new()
    {
        Name = SourceName,
        Id = "0b8ffb3d-6f73-4b8e-8bb1-5c2e1a4b9f01",
        MachineType = "pc-i440fx-99.0", // of a QEMU that is newer than any host's
        CpuCount = 2,
        MemoryBytes = 48L << 20,
        Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = Path.Combine(Folder, "source.raw") }],
        Nics = [new MachineNic { Mac = "52:54:00:11:22:33", Network = Network, Model = "virtio" }],
    };

    public async Task InitializeAsync()
    {
        _hypervisor = Open();
        BootDisk.Write(Source.Disks[0].Source!, hearsButton: true);
        await Hypervisor.DefineAsync(Source, Stop);
    }

    public async Task DisposeAsync()
    {
        await Hypervisor.DisposeAsync();
        await using (_hypervisor = Open())
        {
            foreach (var machine in (await Hypervisor.ListAsync(CancellationToken.None)).Where(m => m.Name is SourceName or ReplicaName))
            {
                await Hypervisor.DestroyAsync(machine.Name, CancellationToken.None);
                if (machine.Definition.ReplicaOf is not null) await Hypervisor.UndefineAsync(machine.Name, CancellationToken.None);
                else await ForgetSourceAsync();
            }
        }
        Directory.Delete(Folder, recursive: true);
        _limit.Dispose();
    }

    [Fact]
    public async Task A_machine_is_found_with_all_that_its_replica_needs()
    {
        await using var another = Open();
        var found = Assert.Single(await another.ListAsync(Stop), m => m.Name == SourceName);
        var (machine, expected) = (found.Definition, Source);
        Assert.Equal(MachineState.Stopped, found.State);
        Assert.Equal((expected.Id, expected.CpuCount, expected.MemoryBytes, null), (machine.Id, machine.CpuCount, machine.MemoryBytes, machine.ReplicaOf));
        Assert.Equal(FirmwareKind.Bios, machine.Firmware.Kind);
        Assert.Contains("pc", machine.MachineType, StringComparison.Ordinal);
        var disk = Assert.Single(machine.Disks);
        // The test driver makes sizes up.
        Assert.Equal(expected.Disks[0] with { SizeBytes = RunsGuests ? BootDisk.SizeBytes : disk.SizeBytes }, disk);
        Assert.Equal(expected.Nics[0], Assert.Single(machine.Nics));
        Assert.Equal(found.Definition.ToJson(), (await another.FindAsync(SourceName, Stop))!.Definition.ToJson());
        Assert.Null(await another.FindAsync("sr-nobody", Stop));
    }

    [Fact]
    public async Task A_replica_is_defined_started_shut_down_destroyed_and_forgotten_and_leaves_no_trace()
    {
        var before = await TracesAsync();
        await using (var disk = BootDisk.Serve(Folder, "replica", hearsButton: true))
        {
            var replica = PlanOn(disk).Make(Source);
            await Hypervisor.DefineAsync(replica with { MemoryBytes = 32 << 20 }, Stop);
            await Hypervisor.DefineAsync(replica, Stop);
            await Hypervisor.DefineAsync(replica, Stop);
            var defined = await FoundAsync(ReplicaName);
            Assert.Equal((MachineState.Stopped, SourceName, replica.Id, replica.MemoryBytes), (defined.State, defined.Definition.ReplicaOf, defined.Definition.Id, defined.Definition.MemoryBytes));
            Assert.Equal(disk.Uri, defined.Definition.Disks.Single().Source);
            Assert.Equal((replica.Nics[0].Mac, null), (defined.Definition.Nics.Single().Mac, defined.Definition.Nics.Single().Network));

            await StartAsync(disk);
            await Hypervisor.StartAsync(ReplicaName, Stop);
            Assert.Equal(MachineState.Running, (await FoundAsync(ReplicaName)).State);
            Assert.Equal(MachineState.Stopped, (await FoundAsync(SourceName)).State);
            await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.UndefineAsync(ReplicaName, Stop));
            if (RunsGuests) await ReachableAsync(await Hypervisor.ConsolesAsync(ReplicaName, Stop));

            Assert.Equal(StopOutcome.Stopped, await Hypervisor.ShutDownAsync(ReplicaName, TimeSpan.FromSeconds(30), Stop));
            Assert.Equal(StopOutcome.Stopped, await Hypervisor.ShutDownAsync(ReplicaName, TimeSpan.Zero, Stop));
            Assert.Equal(MachineState.Stopped, (await FoundAsync(ReplicaName)).State);
            Assert.Empty(await Hypervisor.ConsolesAsync(ReplicaName, Stop));

            await StartAsync(disk);
            await Hypervisor.DestroyAsync(ReplicaName, Stop);
            Assert.Equal(MachineState.Stopped, (await FoundAsync(ReplicaName)).State);
            await Hypervisor.DestroyAsync(ReplicaName, Stop);
            await Hypervisor.UndefineAsync(ReplicaName, Stop);
            await Hypervisor.UndefineAsync(ReplicaName, Stop);
            Assert.Null(await Hypervisor.FindAsync(ReplicaName, Stop));
        }
        Assert.Equal(before, await TracesAsync());
    }

    [Fact]
    public async Task A_running_replica_is_found_by_the_next_process()
    {
        await using var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        if (RunsGuests) await Hypervisor.DisposeAsync(); // the test driver's machines end with their last connection
        await using var next = Open();
        Assert.Equal(MachineState.Running, (await next.FindAsync(ReplicaName, Stop))!.State);
        await next.StartAsync(ReplicaName, Stop);
        Assert.Equal(StopOutcome.Stopped, await next.ShutDownAsync(ReplicaName, TimeSpan.FromSeconds(30), Stop));
    }

    [Fact]
    public async Task A_machine_of_somebody_else_is_never_replaced_nor_forgotten()
    {
        var before = (await FoundAsync(SourceName)).Definition.ToJson();
        var impostor = Source with { ReplicaOf = "another", MemoryBytes = 64 << 20 };
        await RefusedAsync(HypervisorProblem.Conflict, () => Hypervisor.DefineAsync(impostor, Stop));
        await RefusedAsync(HypervisorProblem.Conflict, () => Hypervisor.UndefineAsync(SourceName, Stop));
        Assert.Equal(before, (await FoundAsync(SourceName)).Definition.ToJson());
    }

    [Fact]
    public async Task What_is_not_there_is_said_to_be_not_there()
    {
        await RefusedAsync(HypervisorProblem.NoSuchMachine, () => Hypervisor.StartAsync("sr-nobody", Stop));
        await RefusedAsync(HypervisorProblem.NoSuchMachine, () => Hypervisor.DestroyAsync("sr-nobody", Stop));
        await RefusedAsync(HypervisorProblem.NoSuchMachine, () => Hypervisor.ShutDownAsync("sr-nobody", TimeSpan.Zero, Stop));
        await RefusedAsync(HypervisorProblem.NoSuchMachine, () => Hypervisor.ConsolesAsync("sr-nobody", Stop));
        await Hypervisor.UndefineAsync("sr-nobody", Stop);
    }

    private protected ReplicaPlan PlanOn(BootDisk disk) => new()
    {
        Name = ReplicaName, Purpose = ReplicaPurpose.Test, Disks = new Dictionary<string, string> { ["vda"] = disk.Uri },
    };

    private protected async Task StartAsync(BootDisk disk)
    {
        await Hypervisor.StartAsync(ReplicaName, Stop);
        if (RunsGuests) await disk.BootedAsync(Stop);
    }

    protected async Task<HypervisorMachine> FoundAsync(string name) => await Hypervisor.FindAsync(name, Stop) ?? throw new InvalidOperationException($"{name} is not there");

    protected static async Task<HypervisorException> RefusedAsync(HypervisorProblem problem, Func<Task> act)
    {
        var refusal = await Assert.ThrowsAsync<HypervisorException>(act);
        Assert.Equal(problem, refusal.Problem);
        return refusal;
    }

    private async Task ReachableAsync(IReadOnlyList<MachineConsole> consoles)
    {
        Assert.Contains(consoles, c => c.Kind == "serial");
        var vnc = Assert.Single(consoles, c => c.Kind == "vnc");
        await ConsoleProbe.GreetedAsync(ToHost(vnc.Address), Stop);
    }

    /// <summary>The address as this process sees it.</summary>
    protected virtual string ToHost(string address) => address;
}
