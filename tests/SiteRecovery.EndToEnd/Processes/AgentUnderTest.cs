using System.Text.Json;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>A real siterecovery-agent process that protects one machine; its process server is a port in this process, straight to a store.</summary>
internal sealed class AgentUnderTest : IAsyncDisposable
{
    private const string Name = "agent-1";
    private readonly string _folder, _machine;
    private readonly DiskAssignment[] _disks;
    private readonly StorePort _port;
    private ChildProcess? _process;
    private volatile MachineStatus? _status;
    private volatile int _life;

    /// <param name="diskPaths">Raw disks; they are named vda, vdb, ….</param>
    internal AgentUnderTest(string folder, string machine, params string[] diskPaths)
    {
        (_folder, _machine) = (folder, machine);
        _disks = [.. diskPaths.Select((path, i) => new DiskAssignment(i, $"vd{(char)('a' + i)}", path))];
        _port = new StorePort(folder, TellAsync);
        _port.Authority.IssueInto(Path.Combine(Data, "pki"), Name, PeerRole.Agent).Dispose();
        File.WriteAllText(Path.Combine(Data, "agent.json"), JsonSerializer.Serialize(new
        {
            name = Name, site = "primary", processServers = new[] { new { host = "127.0.0.1", port = _port.Port } },
        }));
    }

    internal StoreReceiver Stores => _port.Stores;
    internal string[] CaptureUris => [.. _disks.Select(d => $"nbd+unix:///{_machine}.{d.Name}?socket={Path.Combine(Data, "nbd.sock")}")];
    /// <summary>What the running process said last; null until it has said something.</summary>
    internal MachineStatus? Status => _status;
    internal string LogPath => Path.Combine(_folder, "agent.log");
    internal string StateFolder => Path.Combine(Data, "machines", _machine);
    private string Data => Path.Combine(_folder, "agent");

    internal void Start(params string[] more) => _process = ChildProcess.Start("siterecovery-agent", LogPath, ["run", "--data", Data, .. more]);

    /// <summary>From here on nobody tells the agent anything.</summary>
    internal Task SilenceAsync() => _port.CutLinkAsync();

    internal void Kill()
    {
        _process?.Dispose();
        _life++; // what a dead process said arrives late and counts no more
        (_process, _status) = (null, null);
    }

    /// <summary>The process server's part: says what is wanted, listens to how it stands.</summary>
    private async Task TellAsync(ControlChannel channel, CancellationToken stop)
    {
        var life = _life;
        while (await channel.ReceiveMessageAsync(stop) is { } message)
        {
            if (message is AgentHello)
                await channel.SendAsync(new ProtectMachine { Id = "1", Machine = _machine, Epoch = 1, Disks = _disks, PointEverySeconds = 1, Synchronize = 1 }, stop);
            if (message is AgentStatus) await channel.SendAsync(new StatusHeard(), stop);
            if (life == _life && message is AgentStatus status && status.Machines.Count > 0) _status = status.Machines[0];
            if (message is CommandDone { Error: { } error }) throw new InvalidOperationException(error);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Kill();
        await _port.DisposeAsync();
    }
}
