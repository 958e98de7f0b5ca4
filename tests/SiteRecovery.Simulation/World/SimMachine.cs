using System.Globalization;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Simulation.Checkers;

namespace SiteRecovery.Simulation.World;

/// <summary>One protected machine: its guest, its operator, and who checks what becomes of it.</summary>
internal sealed class SimMachine
{
    internal SimMachine(SimSites sites, int number)
    {
        (Sites, Number, Id) = (sites, number, new MachineId(string.Create(CultureInfo.InvariantCulture, $"db{number + 1}")));
        // Each has chances of its own.
        var seed = sites.Script.Seed + 1000 * number;
        (Guest, Operator, Checks) = (new SimGuest(this, new SimRandom(seed + 11)), new SimOperator(this, new Random(seed + 12)), new Checks(this, new Random(seed + 9)));
    }

    internal SimSites Sites { get; }
    internal int Number { get; }
    internal MachineId Id { get; }
    internal SimGuest Guest { get; }
    internal SimOperator Operator { get; }
    internal Checks Checks { get; }

    /// <summary>As the configuration server knew it when it was last looked at; null before that.</summary>
    internal ProtectedMachine? State => Sites.Control.StateOf(Id);

    /// <summary>The newest epoch that anybody has heard of.</summary>
    internal Epoch NewestEpoch => State?.Epoch is { } known && known > Guest.NewestEpoch ? known : Guest.NewestEpoch;

    /// <summary>The master target that the machine is replicated to now, and its store; null: none, or its host is down.</summary>
    internal MasterTargetRoom? RoomOfTarget => State?.Protection is { } protection ? (protection.TargetSite == SimSites.Primary ? Sites.Source.Room : Sites.Target.Room) : null;
    internal SimHost HostOfTarget => RoomOfTarget == Sites.Source.Room ? Sites.Source : Sites.Target;

    internal RetentionStore? StoreOfTarget => StoreAt(RoomOfTarget);

    /// <summary>Null also where rot keeps it from being opened.</summary>
    internal RetentionStore? OpenStoreOfTarget
    {
        get
        {
            try
            {
                return StoreOfTarget;
            }
            catch (IOException) when (Sites.Rot.Was)
            {
                return null;
            }
        }
    }

    internal RetentionStore? StoreAt(MasterTargetRoom? room) => room?.Stores is { } stores && stores.Has(Id) ? stores.StoreOf(Id) : null;

    /// <summary>Where the machine is now, as the configuration knows it: "agent", or the host of the replica that is the source.</summary>
    internal string SourceNow => State?.Protection is { Replica: not null } protection ? (protection.SourceSite == SimSites.Primary ? "source" : "target") : "agent";

    /// <summary>Null where none is served, or it is being changed.</summary>
    internal ReplicaMachine? ReplicaAt(MasterTargetRoom? room) => room?.Exports.Find(Id.Value) as ReplicaMachine;

    /// <summary>What an epoch that the machine has just begun was forked from; null: it is not known now.</summary>
    internal RecoveryPoint? PointOf(Epoch epoch) => State is { } machine && machine.Epoch == epoch ? machine.Phase switch
    {
        Phase.UnplannedFailoverInProgress p => p.Point,
        Phase.PlannedFailoverInProgress p => p.Point,
        Phase.FailoverCommitPending p => p.Point,
        _ => null,
    } : null;

    internal void Say(string what) => Sites.Say(Sites.Machines.Count > 1 ? $"{Id}: {what}" : what);
}
