using System.Collections.Immutable;
using System.Globalization;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Simulation.World;

/// <summary>Issues any action at any time, at the secondary site; and brings the machine home when nothing breaks any more.</summary>
internal sealed class SimOperator(SimMachine machine, Random random)
{
    private static readonly TimeSpan MendsItselfWithin = TimeSpan.FromSeconds(60);
    private const string PolicyName = "sim";
    private readonly SimSites _sites = machine.Sites;
    private readonly Random _again = new(machine.Number);
    private int _commands;
    /// <summary>What it ran on has said that it does not come back.</summary>
    private bool _sourceIsLost;
    private TimeSpan? _damagedSince;
    private string? _failedAt; // a point's id

    internal void Protect() => Tell(id => new EnableProtection(machine.Id, id, SimSites.Agent, SimSites.Primary, SimSites.Secondary, Disks(), PolicyName, _sites.Script.Policy));

    /// <param name="action">As the API calls it, with its choices behind it.</param>
    internal void Do(string action)
    {
        var of = machine.Id;
        switch (action.Split(' '))
        {
            case [MachineActions.UnplannedFailover, var which]: At(which, (id, point) => new UnplannedFailover(of, id, point)); break;
            case [MachineActions.ChangeRecoveryPoint, var which]: At(which, (id, point) => new ChangeRecoveryPoint(of, id, point)); break;
            case [MachineActions.TestFailover, var which]: At(which, (id, point) => new TestFailover(of, id, point)); break;
            case [MachineActions.PlannedFailover]: Tell(id => new PlannedFailover(of, id, TimeSpan.FromSeconds(60))); break;
            case [MachineActions.TestFailoverCleanup]: Tell(id => new TestFailoverCleanup(of, id)); break;
            case [MachineActions.Commit]: Tell(id => new CommitFailover(of, id)); break;
            case [MachineActions.CancelFailover]: Tell(id => new CancelFailover(of, id)); break;
            case [MachineActions.ReverseReplicate, var how]: Tell(id => new ReverseReplicate(of, id, Full: how == "full")); break;
            case [MachineActions.Pause]: Tell(id => new PauseReplication(of, id)); break;
            case [MachineActions.Resume]: Tell(id => new ResumeReplication(of, id)); break;
            case [MachineActions.Disable]: Tell(id => new DisableProtection(of, id)); break;
            case [MachineActions.Enable]: Protect(); break;
            case [MachineActions.Resynchronize]: Tell(id => new Resynchronize(of, id)); break;
            case ["keep", var which]: Look(which, (store, point) => Keep(store, point, keep: true)); break;
            case ["let-go", var which]: Look(which, (store, point) => Keep(store, point, keep: false)); break;
            case ["verify", var which]: Look(which, Verify); break;
            case ["take-point"]: TakePoint(); break;
            case ["policy", var seconds, var compression]: ChangePolicy(TimeSpan.FromSeconds(SimScript.Number(seconds)), compression); break;
            default: throw new FormatException($"no operator knows '{action}'");
        }
    }

    /// <summary>What the state itself says that an operator must do.</summary>
    internal void BringHome()
    {
        if (machine.State is not { } state || !StoreOpens()) return;
        if (state.Tests.Any(t => t.CleanupNotes is null)) Do(MachineActions.TestFailoverCleanup);
        switch (state.Phase)
        {
            case Phase.Unprotected { StoreRemovalPending: false }: Protect(); break;
            // The newest state has lost something: health says so, and that a resynchronization mends it.
            case Phase.Protected or Phase.Resynchronizing when state.Problems.Any(p => p.Reason.Contains("cannot be served any more", StringComparison.Ordinal)):
                _sourceIsLost = true;
                Do($"{MachineActions.UnplannedFailover} latest");
                break;
            case Phase.Protected when IsDamaged(state): Do(MachineActions.Resynchronize); break;
            case Phase.ReverseReplicating when state.Problems.Any(p => p.Reason.Contains("reverse the replication with full", StringComparison.Ordinal)): Do($"{MachineActions.ReverseReplicate} full"); break;
            case Phase.Paused: Do(MachineActions.Resume); break;
            case Phase.ResynchronizationRequired when _sites.Script.Asks: Do(MachineActions.Resynchronize); break;
            case Phase.UnplannedFailoverInProgress { Failure: not null } when HasLostAll(): Do(MachineActions.CancelFailover); break;
            case Phase.UnplannedFailoverInProgress { Failure: not null } failed: Repeat(failed.Point); break;
            // Its health says what of its disks cannot be read.
            case Phase.FailoverCommitPending: Do(!_sourceIsLost && (_sites.Rot.Was || random.Next(2) == 0) ? MachineActions.CancelFailover : MachineActions.Commit); break;
            case Phase.FailedOver: Do($"{MachineActions.ReverseReplicate} {(_sourceIsLost ? "full" : "delta")}"); break;
            default: break;
        }
    }

    /// <summary>With another point where the newest has failed already; or not at all, where the source can go on.</summary>
    private void Repeat(RecoveryPoint failed)
    {
        var again = failed.Id == _failedAt;
        _failedAt = failed.Id;
        if (again && !_sourceIsLost && random.Next(2) == 0) Do(MachineActions.CancelFailover);
        else Do($"{MachineActions.UnplannedFailover} {(again ? "any" : "latest")}");
    }

    /// <summary>What the product mends by itself it is given time for, and has to have tried.</summary>
    private bool IsDamaged(ProtectedMachine state)
    {
        if (machine.StoreOfTarget is not { } store || store.DamageOfNewest().Count == 0)
        {
            _damagedSince = null;
            return false;
        }
        if (_sites.Script.Asks) return true;
        if (_sites.Clock.Elapsed - (_damagedSince ??= _sites.Clock.Elapsed) < MendsItselfWithin) return false;
        if (state.Repairs.IsEmpty) throw new SimViolation("liveness", $"the newest state of {machine.Id} has been damaged for {MendsItselfWithin.TotalSeconds} s, and nobody mends it");
        return true;
    }

    private bool StoreOpens()
    {
        try
        {
            _ = machine.StoreOfTarget;
            return true;
        }
        catch (IOException) when (_sites.Rot.Was)
        {
            return false; // it is given up after a while
        }
    }

    /// <summary>Null also where its disk does not give it now.</summary>
    private RetentionStore? StoreNow()
    {
        try
        {
            return machine.StoreOfTarget;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Of the history that it could fail over to nothing is left.</summary>
    private bool HasLostAll() => _sites.Rot.Was && machine.StoreOfTarget is { ConsistentUpTo: null };

    private void At(string which, Func<CommandId, RecoveryPoint, OperatorCommand> command)
    {
        if (Choose(which) is ({ } point, _)) Tell(id => command(id, point));
    }

    /// <summary>Of the store that the machine fails over to.</summary>
    private (RecoveryPoint Point, RetentionStore Store)? Choose(string which)
    {
        if (StoreNow() is not { ConsistentUpTo: { } newest } store) return null;
        var points = store.Points;
        return (which == "latest" || points.Count == 0 ? newest : points[random.Next(points.Count)], store);
    }

    private void Look(string which, Action<RetentionStore, RecoveryPoint> look)
    {
        try
        {
            if (Choose(which) is var (point, store)) look(store, point);
        }
        catch (Exception refused) when (refused is IOException or InvalidDataException or ObjectDisposedException)
        {
            // The operator is told why.
        }
    }

    private void Verify(RetentionStore store, RecoveryPoint point)
    {
        var host = machine.HostOfTarget;
        if (store.Verify(point, CancellationToken.None).Damage is { } damage && !host.Faults.WereFelt && !_sites.Rot.WasAt(host.Name))
            throw new SimViolation("never silently wrong", $"{point.Id} is said to be damaged, and nothing has ever been wrong with the disks of {host.Name}: {damage}");
    }

    private void Keep(RetentionStore store, RecoveryPoint point, bool keep)
    {
        if (!keep) machine.Checks.Kept.Note(machine.HostOfTarget.Name, point, keep: false);
        try
        {
            store.Protect(point, keep);
        }
        catch (IOException) when (keep)
        {
            machine.Checks.Kept.Doubt();
            throw;
        }
        if (keep) machine.Checks.Kept.Note(machine.HostOfTarget.Name, point, keep: true);
    }

    /// <summary>What no checker goes by; the cluster's configuration, which would tell it again, is not here.</summary>
    private void ChangePolicy(TimeSpan pointEvery, string compression) =>
        _sites.Control.Tell(new ChangePolicy(machine.Id, new CommandId("policy"), PolicyName, _sites.Script.Policy with { CrashConsistentEvery = pointEvery, Compression = compression }));

    /// <summary>At whatever runs, of either kind.</summary>
    private void TakePoint()
    {
        foreach (var (_, _, capture) in machine.Guest.Running())
            _ = TakeAsync(capture, random.Next(2) == 0 ? PointKind.ApplicationConsistent : PointKind.CrashConsistent);

        static async Task TakeAsync(MachineCapture capture, PointKind kind)
        {
            try
            {
                await capture.TakePointAsync("by hand", kind);
            }
            catch (Exception refused) when (refused is InvalidOperationException or ObjectDisposedException)
            {
                // The operator is told why.
            }
        }
    }

    private void Tell(Func<CommandId, OperatorCommand> command)
    {
        var given = command(new CommandId(string.Create(CultureInfo.InvariantCulture, $"op-{++_commands}")));
        _sites.Coverage.Note(machine.State, ProtectedMachine.ActionOf(given), _sites.Chaos.Suffered);
        _sites.Control.Tell(given);
        if (_sites.Script.Repeats && _again.Next(3) == 0) _sites.Heed(TellAgainAsync(given));
    }

    private async Task TellAgainAsync(OperatorCommand given)
    {
        await Task.Delay(TimeSpan.FromMilliseconds(_again.Next(5000)), _sites.Clock);
        if (Knows(given)) _sites.Control.Tell(given);
    }

    /// <summary>Whoever takes a command that was not carried out yet looks its point up first: it may be another store that the machine would fail over to by now.</summary>
    private bool Knows(OperatorCommand given) => machine.State is { } state && state.Carried.Any(c => c.Id == given.Id) || given switch
    {
        UnplannedFailover { Point: var point } => Has(point),
        ChangeRecoveryPoint { Point: var point } => Has(point),
        TestFailover { Point: var point } => Has(point),
        _ => true,
    };

    private bool Has(RecoveryPoint point)
    {
        try
        {
            return machine.StoreOfTarget?.ResolvePoint(new PointSelector.ById(point.Id)) is not null;
        }
        catch (Exception refused) when (refused is IOException or InvalidDataException)
        {
            return false; // its disk does not give it now, or it was thinned away
        }
    }

    private ImmutableArray<DiskSpec> Disks() =>
        [.. Enumerable.Range(0, SimSource.DiskCount).Select(d => new DiskSpec(d, $"vd{(char)('a' + d)}", SimSource.PathOf(machine.Id, d), SimSource.DiskBytes, "nbd"))];
}
