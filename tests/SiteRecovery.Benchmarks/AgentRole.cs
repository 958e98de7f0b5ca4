using System.CommandLine;
using System.Globalization;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>The source's process: our NBD server over a plain file or over a captured machine, as the Unified Agent runs it.</summary>
public sealed class AgentRole
{
    private readonly NbdExports _exports = new();
    private readonly Dictionary<string, CapturedMachine> _machines = [];
    private readonly IStreamTarget _target;

    private AgentRole(IStreamTarget target) => _target = target;

    public static Command Command()
    {
        var socket = new Option<string>("--socket") { Required = true };
        var port = new Option<int>("--port") { Description = "The receiver's; 0: a target in this process that acknowledges and forgets" };
        var identity = new Option<string>("--identity") { Required = true };
        var command = new Command("agent", "The source's process") { socket, port, identity };
        command.Hidden = true;
        command.SetAction((arguments, _) => RunAsync(arguments.GetRequiredValue(socket), arguments.GetValue(port), arguments.GetRequiredValue(identity)));
        return command;
    }

    private static async Task RunAsync(string socket, int port, string identityFolder)
    {
        using var identity = PeerIdentity.Load(identityFolder);
        var role = new AgentRole(port == 0 ? new NullTarget() : ReceivingSide.Connect(port, identity));
        await using var server = new NbdServer(role._exports, new NbdServerOptions(), TimeProvider.System);
        server.Listen(new UnixDomainSocketEndPoint(socket));
        await Role.ServeAsync(role.AnswerAsync);
        foreach (var machine in role._machines.Values) await machine.DisposeAsync();
    }

    private async Task<string> AnswerAsync(string[] words)
    {
        switch (words[0])
        {
            case "file":
                _exports.Add(new NbdExport(words[1], new FileDevice(RealFileSystem.Instance.Open(words[2], FileOpening.ReadWrite), readOnly: false), ""));
                return "";
            case "capture":
                _exports.Add(new NbdExport(words[1], (_machines[words[1]] = await CapturedMachine.OpenAsync(words[1], words[2], words[3], _target)).Disk, ""));
                return "";
        }
        var machine = _machines[words[1]];
        switch (words[0])
        {
            case "synchronize": await machine.SynchronizeAsync(CancellationToken.None); break;
            case "durable": await machine.DurableAsync(CancellationToken.None); break;
            case "unsynced": machine.Capture.MarkAllUnsynced("benchmark"); break;
            case "pause": machine.Capture.Pause(); break;
            case "resume": machine.Capture.Resume(); break;
            case "scatter": await Scatter.WriteAsync(machine.Disk, double.Parse(words[2], CultureInfo.InvariantCulture), int.Parse(words[3], CultureInfo.InvariantCulture)); break;
            case "churn": return await Churn.RunAsync(machine, int.Parse(words[2], CultureInfo.InvariantCulture), TimeSpan.FromSeconds(double.Parse(words[3], CultureInfo.InvariantCulture)));
            case "close":
                _exports.Remove(words[1]);
                _machines.Remove(words[1]);
                await machine.DisposeAsync();
                break;
            default: throw new ArgumentException($"no such command: {words[0]}");
        }
        return "";
    }
}
