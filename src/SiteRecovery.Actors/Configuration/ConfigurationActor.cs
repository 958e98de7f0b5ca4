using Akka.Actor;
using Akka.Pattern;
using Akka.Persistence;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.Configuration;

/// <summary>The cluster's one keeper of vaults, policies, clouds, network mappings, tokens and peers: a singleton on the configuration servers.</summary>
/// <remarks>A failed journal stops it; see <see cref="Kept"/>.</remarks>
public sealed class ConfigurationActor : ReceivePersistentActor
{
    private ClusterConfiguration _configuration = ClusterConfiguration.Empty;

    public ConfigurationActor(TimeProvider clock)
    {
        Recover<ConfigurationEvent>(e => _configuration = _configuration.Apply(e));

        Command<ConfigurationCommand>(c => Carry(_configuration.Decide(c, clock.GetUtcNow())));
        Command<GetConfiguration>(_ => Sender.Tell(_configuration.View()));
        Command<PlanNetworks>(q => Sender.Tell(new NetworksPlanned(_configuration.Plan(q.Work), q.Ended)));
        Command<GetPolicy>(q =>
        {
            if (_configuration.Policies.TryGetValue(q.Name, out var policy) && policy != q.Known) Sender.Tell(new ChangePolicy(q.Machine, new CommandId("policy"), q.Name, policy), ActorRefs.NoSender);
        });
        Command<GetListing>(q => Sender.Tell(new Listing(_configuration.Machines.GetValueOrDefault(q.Machine.Value))));
        Command<FindListed>(q =>
        {
            if (_configuration.Machines.ContainsKey(q.Machine.Value)) Sender.Tell(new ListedFound(q.Machine));
        });
        Command<GetKnownNodes>(_ => Sender.Tell(new KnownNodes([.. _configuration.Nodes.Values])));
        Command<CheckToken>(q => Sender.Tell(_configuration.Check(q.Hash)));
        Command<GetAudit>(q => Sender.Tell(new AuditEntries([.. _configuration.Audit.NewestFirst.Take(q.Limit)])));
    }

    public override string PersistenceId => "configuration";

    public static Props Props(TimeProvider clock) => Akka.Actor.Props.Create(() => new ConfigurationActor(clock));

    /// <summary>
    /// What makes it anew, and lets it recover, as a shard does with a machine: a singleton that has stopped would be nobody's for good. What is asked meanwhile is
    /// not answered, and asked again: by people, and by machines that repeat their work.
    /// </summary>
    public static Props Kept(TimeProvider clock) =>
        BackoffSupervisor.Props(Backoff.OnStop(Props(clock), "keeper", TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30), randomFactor: 0.2, maxNrOfRetries: -1));

    /// <summary>Nothing is answered for an event that the journal does not take.</summary>
    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        base.OnPersistRejected(cause, @event, sequenceNr);
        throw new InvalidOperationException($"the journal does not take {@event.GetType().Name}", cause);
    }

    private void Carry(ConfigurationDecision decision)
    {
        var asker = Sender;
        if (decision.Event is { } happened) Persist(happened, e => _configuration = _configuration.Apply(e));
        DeferAsync(decision.Reply, reply => asker.Tell(reply));      // only now is it durable
    }
}
