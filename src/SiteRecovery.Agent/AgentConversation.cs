using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>Whom an agent belongs to, and its way to the process servers.</summary>
public interface IAgentHome
{
    string Name { get; }
    /// <summary>Another one for each process: a process server tells two agents of one identity apart by it.</summary>
    string Instance { get; }
    bool IsKnown { get; }
    /// <summary>What keeps this agent from being believed; null: nothing that it knows of.</summary>
    string? Problem => null;

    /// <summary>Nothing happens where it is known already.</summary>
    /// <exception cref="AgentProblem">There is none, or what is kept of it is damaged; the message says what to do.</exception>
    Task LoadAsync(CancellationToken stop);

    /// <summary>To any of the site's process servers.</summary>
    /// <exception cref="IOException">None answers.</exception>
    ValueTask<ControlChannel> OpenControlAsync(CancellationToken stop);

    /// <summary>Where the agent belongs may have changed.</summary>
    Task RefreshAsync(CancellationToken stop);

    /// <summary>A process server speaks with this agent.</summary>
    void Admit();

    /// <summary>It speaks with another one of this identity: whatever this one has open is cut.</summary>
    void Bar();
}

/// <summary>What an agent and a process server say to each other: the agent obeys one after another, and its machines need none.</summary>
/// <param name="known">Told each time that it is known where the agent belongs.</param>
internal sealed class AgentConversation(IAgentHome home, AgentMachines machines, HostListing listing, AgentHost host, Action known)
{
    private static readonly TimeSpan ReconnectDelay = TimeSpan.FromSeconds(1), IdentityDelay = TimeSpan.FromSeconds(5), StatusInterval = TimeSpan.FromMilliseconds(500);
    /// <summary>Every status is answered: a process server that has lost its power, or a dead line, does not keep the agent.</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);
    /// <summary>Three for each range, and what one message of the cluster can carry on.</summary>
    private const int TailNumbersMax = 3 * 1000;
    private string? _saidOfHome;

    /// <summary>Obeys one process server after another until told to stop.</summary>
    internal async Task RunAsync(CancellationToken stop)
    {
        string? said = null;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await home.LoadAsync(stop);
                known();
                await using var channel = await home.OpenControlAsync(stop);
                await ObeyAsync(channel, () => said = null, stop);
            }
            // Whatever a process server does to this conversation, the disks are served on.
            catch (Exception error) when (!stop.IsCancellationRequested)
            {
                var why = home.Problem is { } problem ? $"{error.Message}; {problem}" : error.Message;
                if (said != why) host.Log.Say($"no process server: {said = why}; trying again");
                await TryRefreshAsync(stop);
            }
            await Task.Delay(home.IsKnown ? ReconnectDelay : IdentityDelay, host.Time, stop);
        }
    }

    /// <summary>Nor does it matter to them whether it can be asked, or kept, where the agent belongs now.</summary>
    private async Task TryRefreshAsync(CancellationToken stop)
    {
        try
        {
            await home.RefreshAsync(stop);
        }
        catch (Exception problem) when (!stop.IsCancellationRequested)
        {
            if (_saidOfHome != problem.Message) host.Log.Say($"it cannot be asked where this agent belongs now: {_saidOfHome = problem.Message}");
        }
    }

    private async Task ObeyAsync(ControlChannel channel, Action admitted, CancellationToken stop)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        await channel.SendAsync(new AgentHello(home.Name, "0.1.0", await machines.NamesAsync(stop), home.Instance), stop);
        var (reporting, listed, points) = (ReportAsync(channel, over.Token), Task.CompletedTask, Task.CompletedTask);
        try
        {
            while (await channel.ReceiveMessageAsync(SilenceMax, host.Time, stop) is { } message)
            {
                if (message is HelloRefused refused)
                {
                    home.Bar();
                    throw new AgentProblem(refused.Reason);
                }
                home.Admit();
                admitted();
                if (message is ReportTail tail) await TellTailAsync(channel, tail, stop);
                // No order waits for a hypervisor.
                else if (message is ListMachines list) listed = ListAsync(channel, list, listed, over.Token);
                // Nor for what a point waits for.
                else if (message is TakePoint) points = Task.WhenAll(points, AnswerAsync(channel, message, over.Token));
                else await AnswerAsync(channel, message, stop);
            }
        }
        finally
        {
            await over.CancelAsync();
            await reporting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await listed.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await points.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task AnswerAsync(ControlChannel channel, AgentMessage order, CancellationToken stop)
    {
        if (await machines.AnswerAsync(order, stop) is { } answer) await channel.SendAsync(answer, stop);
    }

    private async Task ReportAsync(ControlChannel channel, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(StatusInterval, host.Time);
        string? said = null;
        do
        {
            var (status, problem) = await machines.StatusAsync(stop);
            if (problem is not null && problem != said) host.Log.Say(said = problem);
            await channel.SendAsync(new AgentStatus(host.Time.GetUtcNow(), status), stop);
        }
        while (await timer.WaitForNextTickAsync(stop));
    }

    private async Task TellTailAsync(ControlChannel channel, ReportTail report, CancellationToken stop)
    {
        var tail = await machines.TailOfAsync(report.Machine);
        if (tail.Problem is null)
            foreach (var part in tail.Ranges.SelectMany(r => new[] { r.Disk, r.Offset, r.Length }).Chunk(TailNumbersMax).DefaultIfEmpty([]))
                await channel.SendAsync(new TailRanges(report.Id, report.Machine, tail.Epoch, tail.Newest, part, tail.Told.Incarnation, tail.Told.Ordinal), stop);
        await channel.SendAsync(new CommandDone(report.Id, tail.Problem), stop);
    }

    /// <summary>One list after the other: whoever asks much does not keep all of the pool's threads waiting.</summary>
    private async Task ListAsync(ControlChannel channel, ListMachines list, Task before, CancellationToken stop)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await channel.SendAsync(await listing.AnswerAsync(list, await machines.OwnersAsync(stop), stop), stop);
    }
}
