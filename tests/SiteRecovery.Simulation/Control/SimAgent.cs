using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>The agent's conversation, as AgentService has it, without its sockets and locks. One life of its process.</summary>
internal sealed class SimAgent
{
    private static readonly TimeSpan ReconnectDelay = TimeSpan.FromSeconds(1), StatusInterval = TimeSpan.FromMilliseconds(500), LateDelay = TimeSpan.FromSeconds(2), SilenceMax = TimeSpan.FromSeconds(20), AskAfterBoot = TimeSpan.FromSeconds(60);
    private readonly SimSource _host;
    private readonly SimSites _sites;
    private readonly CancellationToken _stop;
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly Dictionary<string, SimAgentMachine> _parts;

    internal SimAgent(SimSource host, SimSites sites, CancellationToken stop)
    {
        (_host, _sites, _stop) = (host, sites, stop);
        _parts = sites.Machines.ToDictionary(m => m.Id.Value, m => new SimAgentMachine(m.Id, host, sites, stop));
    }

    internal SimAgentMachine PartOf(MachineId machine) => _parts[machine.Value];

    /// <summary>Serves what it served before, then obeys whoever it reaches.</summary>
    internal async Task StartAsync()
    {
        await ServeKeptAsync();
        _ = AnswerLaterAsync();
        _ = ServeLateAsync();
        _ = RunAsync();
    }

    internal async Task EndAsync()
    {
        foreach (var part in _parts.Values) await part.EndAsync();
    }

    /// <summary>As when its process is told to end.</summary>
    internal async Task CloseAsync()
    {
        await _changing.WaitAsync(CancellationToken.None);
        foreach (var part in _parts.Values) await part.CloseAsync();
    }

    private async Task ServeLateAsync()
    {
        using var timer = new PeriodicTimer(LateDelay, _host.Clock);
        while (await timer.WaitForNextTickAsync(_stop)) await ServeKeptAsync();
    }

    private async Task ServeKeptAsync()
    {
        foreach (var part in _parts.Values) await TryAsync(part.ServeKeptAsync);
    }

    private async Task AnswerLaterAsync()
    {
        await Task.Delay(AskAfterBoot, _sites.Clock, _stop);
        foreach (var part in _parts.Values)
        {
            await TryAsync(() =>
            {
                part.AskedLongEnough();
                return Task.CompletedTask;
            });
        }
    }

    private async Task RunAsync()
    {
        for (; !_stop.IsCancellationRequested; await Task.Delay(ReconnectDelay, _sites.Clock, _stop))
        {
            try
            {
                await using var channel = new ControlChannel(await _sites.ConnectAgentAsync(_stop));
                await ObeyAsync(channel);
            }
            catch (Exception) when (!_stop.IsCancellationRequested)
            {
                // Whatever happens to this conversation, the disks are served on.
            }
        }
    }

    private async Task ObeyAsync(ControlChannel channel)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stop);
        await channel.SendAsync(new AgentHello(SimSites.Agent.Value, "0.1.0", [.. _parts.Keys], $"{_host.Lives}"), _stop);
        var reporting = ReportAsync(channel, over.Token);
        try
        {
            while (await channel.ReceiveMessageAsync(SilenceMax, _host.Clock, _stop) is { } message)
                await AnswerAsync(channel, message);
        }
        finally
        {
            await over.CancelAsync();
            await reporting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ReportAsync(ControlChannel channel, CancellationToken over)
    {
        using var timer = new PeriodicTimer(StatusInterval, _host.Clock);
        do
        {
            await _changing.WaitAsync(over);
            MachineStatus[] machines = [.. _parts.Values.Select(p => p.Status()).OfType<MachineStatus>()];
            _changing.Release();
            await channel.SendAsync(new AgentStatus(_host.Clock.GetUtcNow(), machines), over);
        }
        while (await timer.WaitForNextTickAsync(over));
    }

    private async Task AnswerAsync(ControlChannel channel, AgentMessage message)
    {
        if (message is ReportTail tail) await TellTailAsync(channel, tail);
        else if (message is ProtectMachine protect) await channel.SendAsync(new CommandDone(protect.Id, await TryAsync(() => _parts[protect.Machine].ProtectAsync(protect))), _stop);
        else if (message is ReleaseMachine release) await channel.SendAsync(new CommandDone(release.Id, await TryAsync(() => _parts[release.Machine].ReleaseAsync(release))), _stop);
        else if (message is FenceMachine fence) await channel.SendAsync(new CommandDone(fence.Id, await TryAsync(() => _parts[fence.Machine].FenceAsync(new Epoch(fence.Epoch)))), _stop);
    }

    private async Task TellTailAsync(ControlChannel channel, ReportTail report)
    {
        TailRanges? tail = null;
        var problem = await TryAsync(() =>
        {
            tail = _parts[report.Machine].TailFor(report);
            return Task.CompletedTask;
        });
        if (tail is not null) await channel.SendAsync(tail, _stop);
        await channel.SendAsync(new CommandDone(report.Id, problem), _stop);
    }

    /// <summary>One change at a time; null, or what went wrong.</summary>
    private async Task<string?> TryAsync(Func<Task> change)
    {
        await _changing.WaitAsync(_stop);
        try
        {
            await change();
            return null;
        }
        catch (Exception problem) when (problem is not OperationCanceledException)
        {
            return problem.Message;
        }
        finally
        {
            _changing.Release();
        }
    }
}
