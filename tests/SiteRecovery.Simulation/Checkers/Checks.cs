using System.Runtime.CompilerServices;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>All checkers, one per invariant; when each looks.</summary>
internal sealed class Checks(SimSites sites, Random random)
{
    private readonly PlannedFailovers _planned = new();
    private readonly SecondaryAlone _alone = new();
    private readonly TestFailovers _tests = new();
    private readonly ConditionalWeakTable<RetentionStore, StrongBox<RecoveryPoint?>> _seen = [];
    private Phase? _phase;

    /// <summary>Often: what passes.</summary>
    internal void Watch()
    {
        if (sites.Control.Machine is { } machine)
        {
            if (machine.Phase != _phase) sites.Say($"{_phase = machine.Phase}, epoch {machine.Epoch}, fence {machine.Fence?.Epoch.Value}, {string.Join("; ", machine.Problems.Select(p => $"{p.Work}: {p.Reason}"))}");
            _tests.Note(machine);
            _planned.Check(sites, machine);
            _alone.Check(sites, machine);
        }
        sites.Control.Look();
    }

    /// <summary>Now and then: what takes time.</summary>
    internal void Look()
    {
        Bounded.Check(sites);
        foreach (var (host, store) in Stores())
            Unbroken(() =>
            {
                DurableAck.Check(sites, store, host);
                // As it stood the last time, it is looked at less often.
                if (!_seen.TryGetValue(store, out var seen) || seen.Value != store.ConsistentUpTo || random.Next(4) == 0) Prefix.CheckNewest(sites, store);
                _seen.AddOrUpdate(store, new StrongBox<RecoveryPoint?>(store.ConsistentUpTo));
                Prefix.CheckAny(sites, store, random);
            });
        Unbroken(() =>
        {
            NeverSilentlyWrong.Check(sites);
            _tests.Check(sites);
        });
    }

    /// <summary>A position that is shown for a moment only is looked at in that moment.</summary>
    internal void LookAtNewest()
    {
        foreach (var (_, store) in Stores()) Unbroken(() => Prefix.CheckNewest(sites, store));
    }

    /// <summary>A master target has come up, and nothing has reached it yet.</summary>
    internal void LookAtStart()
    {
        foreach (var (host, store) in Stores()) Unbroken(() => DurableAck.Check(sites, store, host));
    }

    private IEnumerable<(string Host, RetentionStore Store)> Stores()
    {
        foreach (var (host, room) in ((string, MasterTargetRoom?)[])[(sites.Target.Name, sites.Target.Room), (sites.Source.Name, sites.Source.Room)])
        {
            RetentionStore? store = null;
            Unbroken(() => store = SimSites.StoreAt(room));
            if (store is not null) yield return (host, store);
        }
    }

    /// <summary>Where a disk says that it fails, nothing is shown that could be wrong.</summary>
    private static void Unbroken(Action look)
    {
        try
        {
            look();
        }
        catch (Exception broken) when (broken is IOException or ObjectDisposedException)
        {
            // Full, broken for now, or gone.
        }
    }
}
