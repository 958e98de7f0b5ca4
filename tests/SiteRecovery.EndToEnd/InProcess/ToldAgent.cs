using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.EndToEnd.Processes;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What an agent in this process needs: a folder, one disk full of sevens, and a process server that says what it is given.</summary>
internal sealed class ToldAgent : IAsyncDisposable
{
    internal const int DiskBytes = 1 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-told-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));
    private readonly StorePort _port;
    private volatile ControlChannel? _channel;
    private volatile int _done;
    private volatile MachineStatus? _status;

    internal ToldAgent()
    {
        _port = new StorePort(_folder, ObeyedAsync);
        _port.Authority.IssueInto(At("data/pki"), "agent-1", PeerRole.Agent).Dispose();
        WriteHome();
        File.WriteAllBytes(At("disk.raw"), [.. Enumerable.Repeat((byte)7, DiskBytes)]);
    }

    internal AgentOptions Options => new(At("data"), null, null, "agent-1");
    internal CancellationToken Limit => _limit.Token;
    /// <summary>Orders that came to a good end.</summary>
    internal int Done => _done;
    /// <summary>The last word of the machine; null before it, and where none is spoken of.</summary>
    internal MachineStatus? Status => _status;
    internal ConcurrentQueue<string> Errors { get; } = [];
    /// <summary>Told at each connection.</summary>
    internal AgentMessage? AtHello { get; set; }

    internal string At(string name) => Path.Combine(_folder, name);

    internal ProtectMachine Protection(int epoch) => new() { Id = $"{epoch}", Machine = "db1", Epoch = epoch, Disks = [new DiskAssignment(0, "vda", At("disk.raw"))], Synchronize = 1, Protection = 1 };

    internal void WriteHome() => File.WriteAllText(At("data/agent.json"), JsonSerializer.Serialize(new
    {
        name = "agent-1", site = "primary", processServers = new[] { new { host = "127.0.0.1", port = _port.Port } },
    }));

    internal async Task TellAsync(AgentMessage order)
    {
        await UntilAsync(() => _channel is not null);
        await _channel!.SendAsync(order, Limit);
    }

    /// <summary>One life of the agent, for as long as <paramref name="story"/> takes.</summary>
    internal async Task RunAsync(Func<Task> story)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Limit);
        await using var agent = await AgentService.StartAsync(Options, TimeProvider.System, stop.Token);
        var running = agent.RunAsync(stop.Token);
        await story();
        await stop.CancelAsync();
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        (_channel, _status) = (null, null);
    }

    internal async Task AssertServedAsync()
    {
        await using var client = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(At("data/nbd.sock")), "db1.vda", Limit);
        var into = new byte[4096];
        await client.ReadAsync(0, into, Limit);
        Assert.All(into, b => Assert.Equal(7, b));
    }

    internal async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(Limit);
    }

    private async Task ObeyedAsync(ControlChannel channel, CancellationToken stop)
    {
        while (await channel.ReceiveMessageAsync(stop) is { } message)
        {
            if (message is AgentHello)
            {
                _channel = channel;
                if (AtHello is { } order) await channel.SendAsync(order, stop);
            }
            if (message is CommandDone { Error: null }) Interlocked.Increment(ref _done);
            if (message is CommandDone { Error: { } error }) Errors.Enqueue(error);
            if (message is not AgentStatus status) continue;
            _status = status.Machines.FirstOrDefault();
            await channel.SendAsync(new StatusHeard(), stop);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _port.DisposeAsync();
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
