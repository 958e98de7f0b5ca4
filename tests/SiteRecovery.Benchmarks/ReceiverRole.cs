using System.CommandLine;
using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>The receiving side's process: TLS, compression, stores.</summary>
public sealed class ReceiverRole
{
    private readonly ReceivingSide _side;
    private readonly List<double> _ages = [];
    private CancellationTokenSource? _watch;
    private Task _watching = Task.CompletedTask;

    private ReceiverRole(ReceivingSide side) => _side = side;

    public static Command Command()
    {
        var root = new Option<string>("--root") { Required = true };
        var identity = new Option<string>("--identity") { Required = true };
        var compression = new Option<PayloadCompression>("--compression") { DefaultValueFactory = _ => PayloadCompression.Zstd };
        var command = new Command("receiver", "The receiving side's process") { root, identity, compression };
        command.Hidden = true;
        command.SetAction(async (arguments, _) =>
        {
            using var own = PeerIdentity.Load(arguments.GetRequiredValue(identity));
            await using var side = new ReceivingSide(arguments.GetRequiredValue(root), own, arguments.GetValue(compression));
            await Role.ServeAsync(new ReceiverRole(side).AnswerAsync);
        });
        return command;
    }

    private async Task<string> AnswerAsync(string[] words)
    {
        switch (words[0])
        {
            case "port": return _side.Port.ToString(CultureInfo.InvariantCulture);
            case "point": await _side.PointIsDurableAsync(new MachineId(words[1]), CancellationToken.None); return "";
            case "bytes": return _side.Stores.StoreOf(new MachineId(words[1])).Bytes.ToString(CultureInfo.InvariantCulture);
            case "watch":
                _ages.Clear();
                _watch = new CancellationTokenSource();
                _watching = WatchAsync(new MachineId(words[1]), _watch.Token);
                return "";
            case "ages":
                await _watch!.CancelAsync();
                await _watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return string.Create(CultureInfo.InvariantCulture, $"{Quantile(0.5)} {Quantile(0.99)}");
            default: throw new ArgumentException($"no such command: {words[0]}");
        }
    }

    /// <summary>The RPO as the target sees it: how old the newest durable consistent position is, every 20 ms.</summary>
    private async Task WatchAsync(MachineId machine, CancellationToken stop)
    {
        var store = _side.Stores.StoreOf(machine);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (await timer.WaitForNextTickAsync(stop))
            _ages.Add((TimeProvider.System.GetUtcNow() - store.CurrentAsOf).TotalSeconds);
    }

    private double Quantile(double share) => _ages.Order().ElementAt((int)(share * (_ages.Count - 1)));
}
