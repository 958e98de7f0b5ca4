using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.MasterTargets;

/// <summary>A replica's machine around a planned failover that is rolled back: it is production, and nobody else would start it.</summary>
public sealed class ReplicaHostTests : IAsyncDisposable
{
    private const string Name = "db1";
    private readonly SimClock _clock = new();
    private readonly SimDisk _disk = new();
    private readonly Host _host;
    private readonly ReplicaHost _replicas;

    public ReplicaHostTests()
    {
        _disk.CreateDirectory("/stores/db1");
        _host = new Host(_clock);
        _replicas = new ReplicaHost(new ReplicaHosting(_host, null), _ => "/stores/db1", "/seeds", _disk, _clock);
    }

    [Fact]
    public async Task A_guest_that_obeys_when_its_move_was_called_off_is_started_again()
    {
        await RunAsync();
        await DrainAsync(true);
        Assert.True(_replicas.IsAskedToStop(Name));
        await DrainAsync(false);
        Assert.False(_replicas.IsAskedToStop(Name));
        Assert.Equal(0, _host.Pressing);

        await PassAsync(TimeSpan.FromSeconds(90));
        _host.State = MachineState.Stopped;
        await UntilAsync(() => _host.State == MachineState.Running);
    }

    [Fact]
    public async Task One_that_its_owner_shuts_down_later_is_left_alone()
    {
        await RunAsync();
        await DrainAsync(true);
        await DrainAsync(false);
        await PassAsync(TimeSpan.FromSeconds(125));
        var finds = _host.Finds;
        _host.State = MachineState.Stopped;
        await PassAsync(TimeSpan.FromSeconds(10));
        Assert.Equal((MachineState.Stopped, finds), (_host.State, _host.Finds));
    }

    [Fact]
    public async Task However_its_start_fails_it_is_said_and_tried_again()
    {
        await RunAsync();
        await DrainAsync(true);
        _host.State = MachineState.Stopped;
        foreach (var failure in (Exception[])[new HypervisorException(HypervisorProblem.Refused, "no memory"), new InvalidDataException("a damaged definition"), new TaskCanceledException("it took too long")])
        {
            _host.Failure = failure;
            var said = "";
            // As the order is repeated.
            await UntilAsync(async () => (said = await SaidAsync(false)).Contains(failure.Message, StringComparison.Ordinal));
            Assert.Contains("called off", said, StringComparison.Ordinal);
        }
        _host.Failure = null;
        await UntilAsync(() => _host.State == MachineState.Running);
        await UntilAsync(async () => await SaidAsync(false) == "");
    }

    [Fact]
    public async Task However_its_button_fails_it_is_said_and_pressed_again()
    {
        await RunAsync();
        _host.Failure = new InvalidDataException("a damaged answer");
        await DrainAsync(true);
        await UntilAsync(() => !_replicas.IsAskedToStop(Name));
        _host.Failure = null;
        Assert.Contains("a damaged answer", await SaidAsync(true), StringComparison.Ordinal);
        Assert.True(_replicas.IsAskedToStop(Name));
        Assert.Equal("", await SaidAsync(true));
        Assert.Equal(1, _host.Pressing);
    }

    /// <summary>A start that is still tried would bring back a machine that is to be gone, or that is to be moved after all.</summary>
    [Fact]
    public async Task One_that_is_removed_or_moved_after_all_is_not_started()
    {
        foreach (var remove in (bool[])[false, true])
        {
            await RunAsync();
            await DrainAsync(true);
            _host.State = MachineState.Stopped;
            _host.Failure = new HypervisorException(HypervisorProblem.Refused, "no memory");
            Assert.NotEqual("", await SaidAsync(false));
            if (remove) await _replicas.RemoveAsync(Name, Name, CancellationToken.None);
            else await DrainAsync(true);
            _host.Failure = null;
            await PassAsync(TimeSpan.FromSeconds(10));
            Assert.Equal(MachineState.Stopped, _host.State);
            await RunAsync();
            Assert.Equal(remove ? MachineState.Running : MachineState.Stopped, _host.State); // for its move it stays down
            await _replicas.RemoveAsync(Name, Name, CancellationToken.None);
        }
    }

    [Fact]
    public async Task One_that_its_disks_had_stopped_runs_on_once_they_take_writes_again()
    {
        await RunAsync();
        (_host.State, _host.IsFailedByDisk, _host.Failure) = (MachineState.Paused, true, new HypervisorException(HypervisorProblem.Refused, "it stops again"));
        Assert.Equal("it stops again", (await Record.ExceptionAsync(() => RunAsync()))?.Message);
        _host.Failure = null;
        await RunAsync(); // as the order is repeated
        Assert.Equal(MachineState.Running, _host.State);
    }

    /// <summary>Whoever paused it, or shut it down, wanted that; but it is production.</summary>
    [Theory]
    [InlineData(MachineState.Paused, "virsh resume db1")]
    [InlineData(MachineState.Stopped, "virsh start db1")]
    public async Task One_that_does_not_run_is_told_as_such_and_left_alone(MachineState state, string remedy)
    {
        await RunAsync();
        if (state == MachineState.Stopped)
        {
            _host.State = state;
            await RunAsync(); // the one before may not have been heard of
        }
        await PassAsync(TimeSpan.FromMinutes(1));
        _host.State = state;
        Assert.Contains(remedy, (await Record.ExceptionAsync(() => RunAsync()))?.Message, StringComparison.Ordinal);
        await RunAsync(mustRun: false);
        Assert.Equal(state, _host.State);
        _host.State = MachineState.Running;
        await RunAsync();
    }

    /// <summary>The old source's own machine, left on its host; another one whose owner took the name; and another machine's replica: neither is production, nor ours.</summary>
    [Theory]
    [InlineData(null, "/host/vda.raw", MachineState.Running)]
    [InlineData(null, Served, MachineState.Paused)]
    [InlineData(null, "/host/vda.raw", MachineState.Stopped)]
    [InlineData("db", "nbd+unix:///other.vda?socket=/target/exports.sock", MachineState.Running)]
    [InlineData("db", "nbd+unix:///other.vda?socket=/target/exports.sock", MachineState.Stopped)]
    public async Task Another_machine_of_its_name_is_neither_taken_for_it_nor_touched(string? replicaOf, string disk, MachineState state)
    {
        _replicas.Keep(new MachineId(Name), System.Text.Encoding.UTF8.GetString(Machine.ToJson()));
        await _replicas.CheckAsync(new MachineId(Name), CancellationToken.None);
        var other = Machine with { Name = Name, ReplicaOf = replicaOf, Disks = [Machine.Disks[0] with { Source = disk }] };
        await _host.DefineAsync(other, CancellationToken.None);
        (_host.State, _host.IsFailedByDisk) = (state, state == MachineState.Paused);
        foreach (var refused in (Exception?[])[await Record.ExceptionAsync(() => RunAsync()), await Record.ExceptionAsync(() => _replicas.CheckAsync(new MachineId(Name), CancellationToken.None))])
        {
            Assert.Equal(HypervisorProblem.Conflict, Assert.IsType<HypervisorException>(refused).Problem);
            Assert.Contains("virsh domrename db1", refused.Message, StringComparison.Ordinal);
        }
        Assert.False(await _replicas.IsOnAsync(Name, Name, CancellationToken.None));
        await DrainAsync(true);
        await PassAsync(TimeSpan.FromSeconds(1));
        await DrainAsync(false);
        await _replicas.RemoveAsync(Name, Name, CancellationToken.None);
        Assert.Equal((state, 0, 0, false), (_host.State, _host.Continues, _host.Pressing, _replicas.IsAskedToStop(Name)));
        Assert.Same(other, (await _host.FindAsync(Name, CancellationToken.None))?.Definition);
    }

    [Fact]
    public async Task One_whose_name_is_taken_while_it_is_shut_down_is_not_started_in_its_place()
    {
        await RunAsync();
        await DrainAsync(true);
        _host.State = MachineState.Stopped;
        await _host.DefineAsync(Machine with { Name = Name }, CancellationToken.None);
        await DrainAsync(false);
        await PassAsync(TimeSpan.FromSeconds(10));
        Assert.Equal(MachineState.Stopped, _host.State);
    }

    /// <summary>Whoever holds the source says what its machine boots from, and what its guest does with it.</summary>
    [Fact]
    public async Task One_that_boots_from_a_file_of_no_boot_folder_is_not_started_wherever_its_links_lead()
    {
        var folder = Directory.CreateTempSubdirectory("sr-boot-");
        try
        {
            var boot = folder.CreateSubdirectory("boot");
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "ca.key"), "secret");
            await File.WriteAllTextAsync(Path.Combine(boot.FullName, "vmlinuz-6"), "kernel");
            File.CreateSymbolicLink(Path.Combine(boot.FullName, "vmlinuz"), "vmlinuz-6");
            File.CreateSymbolicLink(Path.Combine(boot.FullName, "initrd"), "../ca.key");
            Directory.CreateSymbolicLink(Path.Combine(boot.FullName, "up"), "..");
            await using var replicas = new ReplicaHost(new ReplicaHosting(_host, null) { Boot = new BootFolders([boot.FullName]) }, _ => "/stores/db1", "/seeds", _disk, _clock);
            foreach (var file in (string[])["initrd", "up/ca.key", "../ca.key"])
            {
                var refused = await Assert.ThrowsAsync<HypervisorException>(() => RunAsync(replicas, Machine with { Kernel = new DirectKernel($"{boot.FullName}/vmlinuz", $"{boot.FullName}/{file}") }));
                Assert.Equal(HypervisorProblem.Unfit, refused.Problem);
                Assert.Contains(BootFolders.Setting, refused.Message, StringComparison.Ordinal);
                Assert.Null(await _host.FindAsync(Name, CancellationToken.None));
            }
            await RunAsync(replicas, Machine with { Kernel = new DirectKernel($"{boot.FullName}/vmlinuz", $"{boot.FullName}/none") });
            Assert.Equal(MachineState.Running, _host.State);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    public ValueTask DisposeAsync() => _replicas.DisposeAsync();

    private Task RunAsync(bool mustRun = true) => RunAsync(_replicas, Machine, mustRun);

    private static Task RunAsync(ReplicaHost replicas, MachineDefinition machine, bool mustRun = true)
    {
        replicas.Keep(new MachineId(Name), System.Text.Encoding.UTF8.GetString(machine.ToJson()));
        return replicas.RunAsync(new MachineId(Name), Name, Name, ReplicaPurpose.Failover, new Dictionary<string, string> { ["vda"] = Served }, null, mustRun, CancellationToken.None);
    }

    private const string Served = $"nbd+unix:///{Name}.vda?socket=/target/exports.sock";

    private static MachineDefinition Machine => new()
    {
        Name = "db", MachineType = "pc", CpuCount = 1, MemoryBytes = 1 << 20, Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = "/host/vda.raw" }],
    };

    private Task DrainAsync(bool drain) => Task.Run(() => _replicas.DrainAsync(Name, Name, drain, CancellationToken.None));

    private async Task<string> SaidAsync(bool drain) => (await Record.ExceptionAsync(() => DrainAsync(drain)))?.Message ?? "";

    private Task UntilAsync(Func<bool> holds) => UntilAsync(() => Task.FromResult(holds()));

    private async Task UntilAsync(Func<Task<bool>> holds)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!await holds()) await PassAsync(TimeSpan.FromSeconds(1), limit.Token);
    }

    /// <summary>What a timer wakes does its work within it, since no test's context is in its way.</summary>
    private Task PassAsync(TimeSpan time, CancellationToken stop = default) => Task.Run(() =>
    {
        var until = _clock.Elapsed + time;
        while (_clock.Next(until)) stop.ThrowIfCancellationRequested();
    }, stop);

    /// <summary>One machine, as a hypervisor has it.</summary>
    private sealed class Host(SimClock clock) : IHypervisor
    {
        private MachineDefinition? _machine;

        internal MachineState State { get; set; }
        /// <summary>Of what changes the machine.</summary>
        internal Exception? Failure { get; set; }
        /// <summary>Why it is paused.</summary>
        internal bool IsFailedByDisk { get; set; }
        internal int Continues { get; private set; }
        internal int Pressing { get; private set; }
        internal int Finds { get; private set; }

        public Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop)
        {
            Finds++;
            return Task.FromResult(_machine is null ? null : new HypervisorMachine(_machine, State));
        }

        public Task DefineAsync(MachineDefinition machine, CancellationToken stop)
        {
            _machine = machine;
            return Task.CompletedTask;
        }

        public Task StartAsync(string name, CancellationToken stop)
        {
            if (Failure is not null) throw Failure;
            State = MachineState.Running;
            return Task.CompletedTask;
        }

        public Task<bool> ContinueAsync(string name, CancellationToken stop)
        {
            if (Failure is not null) throw Failure;
            Continues++;
            if (IsFailedByDisk) (IsFailedByDisk, State) = (false, MachineState.Running);
            return Task.FromResult(State == MachineState.Running);
        }

        public async Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop)
        {
            if (Failure is not null) throw Failure;
            Pressing++;
            try
            {
                await Task.Delay(patience, clock, stop);
                return StopOutcome.StillRunning;
            }
            finally
            {
                Pressing--;
            }
        }

        public Task DestroyAsync(string name, CancellationToken stop)
        {
            State = MachineState.Stopped;
            return Task.CompletedTask;
        }

        public Task UndefineAsync(string name, CancellationToken stop)
        {
            _machine = null;
            return Task.CompletedTask;
        }

        public Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop) => throw new NotSupportedException();
        public Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop) => Task.FromResult<IReadOnlyList<MachineConsole>>([]);
        public ValueTask DisposeAsync() => default;
    }
}
