using System.Globalization;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Simulation.Checkers;
using SiteRecovery.Simulation.Control;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// Machines between two sites, from a script: the real domain, actors, capture, process server, master targets and stores on simulated disks, over a simulated network, on
/// virtual time.
/// </summary>
internal sealed class SimSites
{
    /// <summary>What a capture holds in memory: little, so that it overflows.</summary>
    internal const int BufferBytes = 1 << 20;
    internal static readonly AgentName Agent = new("agent1");
    internal static readonly SiteName Primary = new("primary"), Secondary = new("secondary");
    /// <summary>The guest, when everything is mended.</summary>
    private static readonly TimeSpan StillWrites = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan KeysLast = TimeSpan.FromSeconds(50);
    /// <summary>Of what is promoted, before a flush: so few that there is one in the midst of it.</summary>
    private const int BlocksWaiting = 8;
    private const int WellLooks = 10;
    internal const string SecondRelay = "relay2";
    private const int LookEveryTurns = 50;
    private readonly Random _random;
    private readonly SimTrace _trace;
    private SimViolation? _violation;
    private Action<string>? _say;

    private SimSites(SimScript script)
    {
        var seed = script.Seed;
        (Script, _random, _trace) = (script, new Random(seed), new SimTrace(Clock));
        (Near, Wan) = (new SimWire(new Random(seed + 1)), new SimWire(new Random(seed + 2)));
        Relays = [new SimRelay("relay", Clock, new Random(seed + 8), this, seed + 3)];
        if (script.Relays > 1) Relays = [.. Relays, new SimRelay(SecondRelay, Clock, new Random(seed + 15), this, seed + 16)];
        Back = LinkOver(Wan, () => Source!.Room?.Stores, seed + 6);
        (Source, Target) = (new SimSource(Clock, new Random(seed + 7), this, script.Aged ? new Random(seed + 13) : null, script.Machines), new SimTarget(Clock, new Random(seed + 10), this));
        Hosts = [Source, Relays[0], Target, .. Relays.Skip(1)];
        foreach (var host in Hosts) (host.Traced, host.Said, host.LostPower, host.Evicted, host.FlushFailed) = (_trace.Add, Say, LosePower, at => Each(m => m.Guest.Forget(at)), path => Each(m => m.Guest.LoseLayer(host.Name, path)));
        Source.LostSector = (path, sector) => Each(m => m.Guest.LoseSector(path, sector));
        Source.ForgotCached = path => Each(m => m.Guest.LookAgain(path));
        Rot = new SimRot(this, new Random(seed + 14));
        Machines = [.. Enumerable.Range(0, script.Machines).Select(n => new SimMachine(this, n))];
        Chaos = new SimChaos(this, script);
    }

    internal SimScript Script { get; }
    internal IReadOnlyList<SimMachine> Machines { get; } = [];
    internal SimClock Clock { get; } = new();
    internal SimControl Control { get; private set; } = null!;
    internal SimSource Source { get; }
    /// <summary>In the order in which an agent tries them.</summary>
    internal IReadOnlyList<SimRelay> Relays { get; } = [];
    internal SimTarget Target { get; }
    internal IReadOnlyList<SimHost> Hosts { get; }
    /// <summary>Within the primary site, and between the sites.</summary>
    internal SimWire Near { get; }
    internal SimWire Wan { get; }
    internal SimLink Back { get; }
    internal SimChaos Chaos { get; }
    internal SimRot Rot { get; }
    internal SimCoverage Coverage { get; } = new();
    /// <summary>Nobody brings a machine home any more: the end of a run fails over.</summary>
    internal bool Drills { get; set; }

    /// <summary>Of a host's stores.</summary>
    internal StoreOptions StoresOf(SimHost host)
    {
        var options = new StoreOptions { BaseBlocksUnflushedMax = Script.Seed % 2 == 0 ? BlocksWaiting : int.MaxValue, Keys = new KeyWrappings(new SimKeys(SimHost.KeyPath, host.Disk), [], KeysLast) };
        return Script.SegmentBytes > 0 ? options with { SegmentBytesMax = Script.SegmentBytes } : options;
    }

    internal SimHost HostOf(string name) => Hosts.First(h => h.Name == name);

    internal SimHostClock ClockAt(string place) => HostOf(place == "agent" ? "source" : place).Clock;

    /// <summary>How a room reaches another one's door.</summary>
    internal IStreamTarget WayOf(SimHost from, string to) => new SimWay(from, () => from switch
    {
        SimRelay relay => relay.ToTarget,
        SimTarget => Back,
        _ => Relays.First(r => r.Name == to).FromSource,
    });

    /// <summary>How the agent's streams go: to the first process server that answers.</summary>
    internal IStreamTarget WayOfAgent() => new SimWay(Source, () => (FirstUp() ?? Relays[0]).FromAgent);

    private SimRelay? FirstUp() => Relays.FirstOrDefault(r => r.Room is not null);

    /// <exception cref="IOException">Nobody is there.</exception>
    internal async Task<Stream> ConnectAgentAsync(CancellationToken stop)
    {
        await Task.Delay(TimeSpan.FromMilliseconds(1), Clock, stop);
        if (Near.IsCut || Near.IsMute || Near.IsDeaf || FirstUp() is not { Room: { } room } relay) throw new IOException("the network does not get there");
        var (near, far) = SimStream.Pair(Clock, () => Near.IsLate ? Near.LagOf(_random) : TimeSpan.FromMicroseconds(_random.Next(50, 5000)), () => Near.IsDeaf, () => Near.IsMute);
        Near.Dropped += Break;
        relay.Dropped += Break;
        _ = room.Sessions.RunAsync(new ControlChannel(far, new Peer(Agent.Value, PeerRole.Agent)), relay.Life);
        return near;

        void Break(string reason)
        {
            near.Break(reason);
            far.Break(reason);
        }
    }

    /// <summary>Runs with faults, then without, until every machine is protected. What it returns is the same for the same script.</summary>
    /// <param name="say">Hears what happens, for people.</param>
    internal static async Task<string> RunAsync(SimScript script, SimCoverage? coverage = null, Action<string>? say = null)
    {
        var sites = new SimSites(script) { _say = say };
        sites.Control = await SimControl.StartAsync(sites);
        try
        {
            return await sites.RunAsync();
        }
        finally
        {
            coverage?.Add(sites.Coverage);
            sites.Control.End();
        }
    }

    /// <summary>A room has just come up.</summary>
    internal void LookAtStart() => Watched(() => Each(m => m.Checks.LookAtStart()));

    /// <summary>What is told of a machine when it is asked for.</summary>
    internal void Measured(MeasuredMachine measured) => Watched(() => Machines.First(m => m.Id == measured.State.Id).Checks.Measured.Check(measured));

    internal void Say(string what) => _say?.Invoke(string.Create(CultureInfo.InvariantCulture, $"{(long)Clock.Elapsed.TotalMilliseconds,7} {what}"));

    private async Task<string> RunAsync()
    {
        var faulty = TimeSpan.FromMilliseconds(Script.Until);
        foreach (var host in Hosts) await host.StartAsync();
        Each(m => m.Operator.Protect());
        Each(m => _ = EveryAsync(Script.Pace, faulty + StillWrites, m.Guest.Act));
        Heed(Chaos.RunAsync());
        Each(m => _ = EveryAsync(250, TimeSpan.MaxValue, m.Checks.Watch));
        Each(m => _ = EveryAsync(LookEveryTurns * Script.Pace, TimeSpan.MaxValue, m.Checks.Look));
        await SimScheduler.RunAsync(Clock, faulty, () => _violation is null);
        Chaos.Heal();
        Each(m => _ = EveryAsync(3000, TimeSpan.MaxValue, () =>
        {
            if (!Drills) m.Operator.BringHome();
        }));
        var deadline = Clock.Elapsed + Liveness.Bound;
        // A moment in which all is well is not enough, nor one between two writes.
        for (var well = 0; _violation is null && Clock.Elapsed < deadline; await GoOnAsync(TimeSpan.FromSeconds(1)))
        {
            well = Clock.Elapsed > faulty + StillWrites && Machines.All(Liveness.IsHome) ? well + 1 : 0;
            if (well >= WellLooks) break;
        }
        if (_violation is not null) throw _violation;
        foreach (var machine in Machines) Liveness.Check(machine);
        await Bounded.CheckSpoolsAsync(this);
        Watched(() => Each(m => m.Guest.WriteOnce()));
        await Bounded.CheckStoresAsync(this);
        if (_violation is not null) throw _violation;
        var points = 0;
        foreach (var machine in Machines)
        {
            if (machine.OpenStoreOfTarget is not { } at) continue;
            Prefix.CheckAll(machine, at);
            points += at.PointCount;
        }
        var line = $"{Machines.Sum(m => m.Guest.Writes)} writes, {Chaos.Faults} faults, {Machines.Sum(m => m.State!.Epoch.Value)} epochs, {points} points, trace {_trace.Hash:x16}";
        if (!FinalDrill.IsDue(this)) return line;
        await FinalDrill.RunAsync(this);
        return _violation is null ? line : throw _violation;
    }

    /// <summary>The guests write for a while. False: an invariant was violated.</summary>
    internal Task<bool> WriteOnAsync(TimeSpan time)
    {
        Each(m => _ = EveryAsync(Script.Pace, Clock.Elapsed + time, m.Guest.Act));
        return GoOnAsync(time + StillWrites);
    }

    /// <summary>False: an invariant was violated.</summary>
    internal async Task<bool> GoOnAsync(TimeSpan time)
    {
        await SimScheduler.RunAsync(Clock, Clock.Elapsed + time, () => _violation is null);
        return _violation is null;
    }

    private void Each(Action<SimMachine> act)
    {
        foreach (var machine in Machines) act(machine);
    }

    private void LosePower(string host) => Each(m => m.Guest.LosePower(host));

    internal SimLink LinkOver(SimWire wire, Func<IStreamTarget?> far, int seed)
    {
        var link = new SimLink(far, wire, Clock, new Random(seed)) { Arrived = machine => _ = EveryAsync(1, Clock.Elapsed + TimeSpan.FromMilliseconds(1), Machines.First(m => m.Id == machine).Checks.LookAtNewest) };
        wire.Add(link);
        return link;
    }

    private async Task EveryAsync(int milliseconds, TimeSpan until, Action act)
    {
        for (; Clock.Elapsed < until && _violation is null; await Task.Delay(TimeSpan.FromMilliseconds(_random.Next(1, 2 * milliseconds)), Clock)) Watched(act);
    }

    /// <summary>Whatever goes on by itself: an exception that ends it is not a calm world.</summary>
    internal void Heed(Task work)
    {
        _ = EndsWellAsync();

        async Task EndsWellAsync()
        {
            try
            {
                await work;
            }
            catch (Exception failed)
            {
                _violation ??= failed as SimViolation ?? new SimViolation("no exception", failed.ToString());
            }
        }
    }

    private void Watched(Action act)
    {
        try
        {
            act();
        }
        catch (SimViolation found)
        {
            _violation ??= found;
        }
        catch (Exception failed)
        {
            _violation ??= new SimViolation("no exception", failed.ToString());
        }
    }

    /// <summary>Nobody goes anywhere from a host that has died.</summary>
    private sealed class SimWay(SimHost from, Func<SimLink> link) : IStreamTarget
    {
        private readonly int _life = from.Lives;

        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) =>
            from.Lives != _life ? throw new IOException("the host is off") : link().OpenAsync(opening, positions, stop);
    }
}

/// <summary>What must never be so has come to be so.</summary>
public sealed class SimViolation(string invariant, string what) : Exception($"{invariant}: {what}")
{
    internal string Invariant => invariant;
}
