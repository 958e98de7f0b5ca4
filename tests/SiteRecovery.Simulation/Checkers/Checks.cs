using System.Runtime.CompilerServices;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>All checkers, one per invariant; when each looks.</summary>
internal sealed class Checks(SimMachine machine, Random random)
{
    private readonly SimSites _sites = machine.Sites;
    private readonly Random _arrivals = new(machine.Number);
    private readonly PlannedFailovers _planned = new();
    private readonly SecondaryAlone _alone = new();
    private readonly ReplicaRuns _runs = new();
    private readonly LosingSides _losing = new();
    private readonly TestFailovers _tests = new();
    private readonly Retained _retained = new(machine);
    private readonly ConditionalWeakTable<RetentionStore, StrongBox<RecoveryPoint?>> _seen = [];
    private Phase? _phase;
    private readonly Dictionary<(string Host, string Folder), string[]> _released = []; // with its files
    private readonly SortedSet<long> _begun = []; // the epochs in which a protection began

    internal KeptPoints Kept { get; } = new(machine);
    internal Measured Measured { get; } = new(machine);

    /// <summary>Often: what passes.</summary>
    internal void Watch()
    {
        _runs.Check(machine);
        if (machine.State is { } state)
        {
            if (state.Phase != _phase) machine.Say($"{_phase = state.Phase}, epoch {state.Epoch}, fence {state.Fence?.Epoch.Value}, {string.Join("; ", state.Problems.Select(p => $"{p.Work}: {p.Reason}"))}");
            if (state.Phase is Phase.InitialReplication) _begun.Add(state.Epoch.Value);
            Unbroken(machine.HostOfTarget.Name, () => _tests.Watch(machine, state));
            Unbroken(machine.HostOfTarget.Name, () => _losing.Check(machine, state));
            _planned.Check(machine, state);
            _alone.Check(machine, state);
            LookAtReleased(state);
        }
        _sites.Control.Look(machine.Id);
    }

    /// <summary>What was released since the last look, once that is confirmed.</summary>
    private void LookAtReleased(ProtectedMachine state)
    {
        if (state is not { Releasing: null, Phase: Phase.Unprotected }) return;
        foreach (var (host, room) in ((string, MasterTargetRoom?)[])[(_sites.Target.Name, _sites.Target.Room), (_sites.Source.Name, _sites.Source.Room)])
        {
            if (room is null) continue;
            foreach (var folder in room.Files.Folders(Path.GetDirectoryName(room.ReleasedFolderOf(machine.Id, "layer"))!))
                if (_released.TryAdd((host, folder), [.. _sites.HostOf(host).Disk.Files(folder).Where(Released.IsKept)]) && !_sites.Rot.WasAt(host)) Unbroken(host, () => Released.Check(machine, room, folder, host, _begun));
        }
    }

    /// <summary>Now and then: what takes time.</summary>
    internal void Look()
    {
        Bounded.Check(_sites);
        foreach (var (host, store) in Stores())
            Unbroken(host, () =>
            {
                DurableAck.Check(machine, store, host);
                Kept.Check(store, host);
                _retained.Check(store, host);
                // As it stood the last time, it is looked at less often.
                if (!_seen.TryGetValue(store, out var seen) || seen.Value != store.ConsistentUpTo || random.Next(4) == 0) Prefix.CheckNewest(machine, store);
                _seen.AddOrUpdate(store, new StrongBox<RecoveryPoint?>(store.ConsistentUpTo));
                Prefix.CheckAny(machine, store, random);
            });
        Unbroken(null, () => NeverSilentlyWrong.Check(machine));
        foreach (var ((host, _), files) in _released) Released.CheckStay(_sites.HostOf(host), files);
        Unbroken(machine.HostOfTarget.Name, () => _tests.Check(machine));
    }

    /// <summary>A position that is shown for a moment only is looked at in that moment, one of three of them.</summary>
    internal void LookAtNewest()
    {
        if (_arrivals.Next(3) > 0) return;
        foreach (var (host, store) in Stores()) Unbroken(host, () => Prefix.CheckNewest(machine, store));
    }

    /// <summary>A master target has come up, and nothing has reached it yet.</summary>
    internal void LookAtStart()
    {
        foreach (var (host, store) in Stores())
            Unbroken(host, () =>
            {
                DurableAck.Check(machine, store, host);
                Kept.Check(store, host);
            });
    }

    private IEnumerable<(string Host, RetentionStore Store)> Stores()
    {
        foreach (var (host, room) in ((string, MasterTargetRoom?)[])[(_sites.Target.Name, _sites.Target.Room), (_sites.Source.Name, _sites.Source.Room)])
        {
            RetentionStore? store = null;
            Unbroken(host, () => store = machine.StoreAt(room));
            if (store is not null) yield return (host, store);
        }
    }

    /// <summary>Where a disk says that it fails, nothing is shown that could be wrong. One that never has must be read.</summary>
    /// <param name="host">Whose disk it is; null: anyone's.</param>
    private void Unbroken(string? host, Action look)
    {
        try
        {
            look();
        }
        catch (IOException broken) when (host is not null && !HasFailed(_sites.HostOf(host)))
        {
            throw new SimViolation("never silently wrong", $"what {host} keeps cannot be read, though its disk has never failed: {broken}");
        }
        catch (Exception broken) when (broken is IOException or ObjectDisposedException || (broken is StoreLockedException && (machine.State is { Phase: Phase.Unprotected } || (broken.GetBaseException() is IOException && (host is null || HasFailed(_sites.HostOf(host)))))))
        {
            // Full, broken for now, also where the key for its keys lies, or gone; its keys go first.
        }
    }

    private bool HasFailed(SimHost host) => !host.IsUp || host.Faults.WereFelt || _sites.Rot.WasAt(host.Name);
}
