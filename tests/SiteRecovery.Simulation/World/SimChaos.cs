using SiteRecovery.DataPlane.Capture;

namespace SiteRecovery.Simulation.World;

/// <summary>Carries out a script.</summary>
internal sealed class SimChaos(SimSites sites, SimScript script)
{
    /// <summary>The source is making the target complete: a state that lasts for moments.</summary>
    internal const string Synchronizing = "synchronizing";
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Felt = TimeSpan.FromSeconds(2);
    /// <summary>So long a fault waits for the state that it is to come in.</summary>
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(30), LookForStateEvery = TimeSpan.FromMilliseconds(5);
    private readonly List<string> _suffered = [];
    private readonly List<Waiter> _waiters = [];
    private bool _healed, _isLooking;

    internal int Faults { get; private set; }

    internal async Task RunAsync()
    {
        foreach (var step in script.Steps)
        {
            var wait = TimeSpan.FromMilliseconds(step.At) - sites.Clock.Elapsed;
            if (wait > TimeSpan.Zero) await Task.Delay(wait, sites.Clock);
            if (_healed) return;
            sites.Say(step.What);
            if (step.What.StartsWith("do ", StringComparison.Ordinal)) Operate(step.What[3..]);
            else sites.Heed(SufferAsync(step));
        }
    }

    /// <summary>Nothing is broken any more.</summary>
    internal void Heal()
    {
        _healed = true;
        sites.Near.Mend();
        sites.Wan.Mend();
        sites.Control.Journal.Mend();
        sites.Control.LetCome();
        StartConfiguration();
        foreach (var host in sites.Hosts)
        {
            host.Faults.Heal();
            sites.Heed(host.StartAsync());
        }
    }

    /// <summary>Its process comes up with its host, or, where it died alone, later.</summary>
    private void StartConfiguration()
    {
        if (sites.Target.IsUp && sites.Target.Room is not null) sites.Control.StartConfiguration(sites.Target.Clock);
    }

    /// <summary>The kinds of faults that there are now.</summary>
    internal IEnumerable<string> Suffered => _suffered;

    /// <param name="action">Of the first machine, or behind another one's name.</param>
    private void Operate(string action)
    {
        if (sites.Machines.FirstOrDefault(m => action.StartsWith(m.Id.Value + " ", StringComparison.Ordinal)) is { } named) named.Operator.Do(action[(named.Id.Value.Length + 1)..]);
        else sites.Machines[0].Operator.Do(action);
    }

    private async Task SufferAsync(SimStep step)
    {
        var words = step.What.Split(' ');
        if (words is ["when", var state, ..])
        {
            if (!await ComesToBeAsync(state)) return;
            words = words[2..];
            sites.Say(string.Join(' ', words));
        }
        Faults++;
        _suffered.Add(words[0]);
        foreach (var machine in sites.Machines) sites.Coverage.Note(machine.State, null, [words[0]]);
        await CarryOutAsync(words);
        // What broke at once is felt for a while.
        await Task.Delay(Felt, sites.Clock);
        _suffered.Remove(words[0]);
    }

    /// <summary>False: it has not come to be so for a long time.</summary>
    private async Task<bool> ComesToBeAsync(string state)
    {
        var waiter = new Waiter(state, sites.Clock.Elapsed + WaitMax);
        _waiters.Add(waiter);
        if (!_isLooking) sites.Heed(LookAsync());
        return await waiter.Outcome.Task;
    }

    /// <summary>For all that wait, however many: to look costs more than what is looked at.</summary>
    private async Task LookAsync()
    {
        for (_isLooking = true; _waiters.Count > 0; await Task.Delay(LookForStateEvery, sites.Clock))
        {
            foreach (var waiter in _waiters.ToArray())
            {
                var (isOver, isSo) = (_healed || sites.Clock.Elapsed >= waiter.Until, IsAnyIn(waiter.State));
                if (!isOver && !isSo) continue;
                _waiters.Remove(waiter);
                waiter.Outcome.SetResult(!isOver);
            }
            foreach (var machine in sites.Machines) sites.Control.Look(machine.Id);
        }
        _isLooking = false;
    }

    /// <summary>Asked for every waiter 200 times a second: without garbage.</summary>
    private bool IsAnyIn(string state)
    {
        for (var i = 0; i < sites.Machines.Count; i++)
            if (state == Synchronizing ? IsSynchronizing(sites.Machines[i]) : sites.Machines[i].State?.Phase.Name == state) return true;
        return false;
    }

    private static bool IsSynchronizing(SimMachine machine) => machine.Guest.Running().Any(r => r.Host == machine.SourceNow && r.Capture.Status().Mode == CaptureMode.Synchronizing);

    private async Task CarryOutAsync(string[] words)
    {
        switch (words)
        {
            case ["drop", var wire]: WireOf(wire).Drop("reset"); break;
            case ["cut", var wire, "for", var lasts]: await ForAsync(lasts, WireOf(wire).Cut); break;
            case ["mute", var wire, "for", var lasts]: await ForAsync(lasts, WireOf(wire).Mute); break;
            case ["deafen", var wire, "for", var lasts]: await ForAsync(lasts, WireOf(wire).Deafen); break;
            case ["lose", var wire, "for", var lasts]: await ForAsync(lasts, WireOf(wire).Lose); break;
            case ["crash", var host, var way, "for", var lasts]: await CrashAsync(sites.HostOf(host), way, lasts); break;
            case ["orphan", "for", var lasts]:
                await ForAsync(lasts, sites.Control.KeepDown);
                StartConfiguration();
                break;
            case ["forget", "for", var lasts]: await ForAsync(lasts, sites.Control.Journal.Fill); break;
            case ["doubt", "for", var lasts]: await ForAsync(lasts, sites.Control.Journal.Silence); break;
            case ["stop", var host, "for", var lasts]:
                await sites.HostOf(host).StopAsync();
                await WaitAsync(lasts);
                await sites.HostOf(host).StartAsync();
                break;
            case ["crash", var host, var way, var when, var io, var nth, "for", var lasts]:
                var isToCome = sites.HostOf(host).Faults.Crash(way == "power", MomentOf(io), SimScript.Number(nth), when == "after");
                // Whatever else it dies of meanwhile.
                while (isToCome() && !_healed) await Task.Delay(LookEvery, sites.Clock);
                await WaitAsync(lasts);
                await sites.HostOf(host).StartAsync();
                break;
            case ["late", var wire, var by, "for", var lasts]: await ForAsync(lasts, begins => WireOf(wire).Delay(SimScript.Number(by), begins)); break;
            case ["mix", var wire, "for", var lasts]: await ForAsync(lasts, WireOf(wire).Mix); break;
            case ["storm", "for", var lasts]: await ForAsync(lasts, StormAll); break;
            case ["slow", var host, "for", var lasts]: await ForAsync(lasts, sites.HostOf(host).Faults.Slow); break;
            case ["unreadable", var host, "for", var lasts]: await ForAsync(lasts, sites.HostOf(host).Faults.Unreadable); break;
            case ["full", var host, var bytes, "for", var lasts]:
                var capacity = sites.HostOf(host).Faults.Full(SimScript.Number(bytes));
                await WaitAsync(lasts);
                sites.HostOf(host).Faults.HasRoom(capacity);
                break;
            case ["fail", var host, var io, var nth]: sites.HostOf(host).Faults.Fail(MomentOf(io), SimScript.Number(nth), Fault.Error); break;
            case ["tear", var host, var nth]: sites.HostOf(host).Faults.Fail(SimMoment.Write, SimScript.Number(nth), Fault.Torn); break;
            case ["rot", var host, var bytes]: sites.Rot.Flip(sites.HostOf(host), SimScript.Number(bytes)); break;
            case ["spoil", var host, var sectors]: sites.Rot.Spoil(sites.HostOf(host), SimScript.Number(sectors)); break;
            case ["wear", var host, var sectors]: sites.Rot.Wear(sites.HostOf(host), SimScript.Number(sectors)); break;
            case ["evict", var host]: sites.HostOf(host).Evict(); break;
            case ["scratch", var host, var sectors]: sites.Rot.Scratch(sites.HostOf(host), SimScript.Number(sectors)); break;
            case ["smudge", var host, var marks]: sites.Rot.Smudge(sites.HostOf(host), SimScript.Number(marks)); break;
            case ["dark", "for", var lasts]:
                sites.Wan.Cut(true);
                await Task.WhenAll([CrashAsync(sites.Source, "power", lasts), .. sites.Relays.Select(r => CrashAsync(r, "power", lasts))]);
                sites.Wan.Cut(false);
                break;
            case ["jump", var host, var by]: sites.HostOf(host).Clock.Jump(TimeSpan.FromMilliseconds(SimScript.Number(by))); break;
            case ["drift", var host, var by]: sites.HostOf(host).Clock.Drift(SimScript.Number(by)); break;
            default: throw new FormatException($"nobody knows how to do '{string.Join(' ', words)}'");
        }
    }

    private async Task CrashAsync(SimHost host, string way, string lasts)
    {
        host.Crash(way == "power");
        await WaitAsync(lasts);
        await host.StartAsync();
    }

    private async Task ForAsync(string lasts, Action<bool> fault)
    {
        fault(true);
        await WaitAsync(lasts);
        fault(false);
    }

    private void StormAll(bool begins)
    {
        foreach (var machine in sites.Machines) machine.Guest.Storm(begins);
    }

    private sealed record Waiter(string State, TimeSpan Until)
    {
        internal TaskCompletionSource<bool> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private Task WaitAsync(string lasts) => Task.Delay(TimeSpan.FromMilliseconds(SimScript.Number(lasts)), sites.Clock);

    private SimWire WireOf(string name) => name == "near" ? sites.Near : sites.Wan;

    private static SimMoment MomentOf(string io) => Enum.Parse<SimMoment>(io, ignoreCase: true);
}
