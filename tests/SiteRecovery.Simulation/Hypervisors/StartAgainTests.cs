using System.Text;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Hypervisors;

/// <summary>A source's machine that was shut down for a planned failover that is over, while nobody is heard who could order its start.</summary>
public sealed class StartAgainTests
{
    private const string Mark = "/agent/machine-stopped";
    private readonly SimClock _clock = new();
    private readonly SimDisk _disk = new();
    private readonly Host _host = new();

    [Fact]
    public async Task However_its_start_fails_it_is_said_and_tried_again()
    {
        _disk.CreateDirectory("/agent");
        _disk.Replace(Mark, Encoding.UTF8.GetBytes("web01"));
        var source = new SourceMachine(_host, "/agent/nbd.sock", ["web01.vda"], Mark, _disk, _clock);
        _host.Failure = new HypervisorException(HypervisorProblem.Unavailable, "it does not answer");
        var starting = source.StartAgainAsync(() => true, default);
        foreach (var failure in (Exception[])[new IOException("a bad sector"), new InvalidDataException("a damaged definition"), new TaskCanceledException("it took too long")])
        {
            _host.Failure = failure;
            await PassAsync();
            Assert.Contains(failure.Message, source.Problem, StringComparison.Ordinal);
        }
        _host.Failure = null;
        await PassAsync();
        await starting.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal((MachineState.Running, false, null), (_host.State, source.WasStoppedByUs, source.Problem));
    }

    private Task PassAsync() => Task.Run(() =>
    {
        var until = _clock.Elapsed + TimeSpan.FromSeconds(2);
        while (_clock.Next(until))
        {
        }
    });

    private sealed class Host : IHypervisor
    {
        internal MachineState State { get; private set; } = MachineState.Stopped;
        internal Exception? Failure { get; set; }

        public Task<HypervisorMachine?> FindAsync(string name, CancellationToken stop) => Failure is not null ? throw Failure
            : Task.FromResult<HypervisorMachine?>(new HypervisorMachine(new MachineDefinition { Name = name, MachineType = "pc", CpuCount = 1, MemoryBytes = 1 << 20 }, State));

        public Task StartAsync(string name, CancellationToken stop)
        {
            State = MachineState.Running;
            return Task.CompletedTask;
        }

        public Task<IReadOnlyList<HypervisorMachine>> ListAsync(CancellationToken stop) => throw new NotSupportedException();
        public Task DefineAsync(MachineDefinition machine, CancellationToken stop) => throw new NotSupportedException();
        public Task<bool> ContinueAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task<StopOutcome> ShutDownAsync(string name, TimeSpan patience, CancellationToken stop) => throw new NotSupportedException();
        public Task DestroyAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task UndefineAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public Task<IReadOnlyList<MachineConsole>> ConsolesAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DisposeAsync() => default;
    }
}
