using Akka.Actor;
using Akka.Persistence;

namespace SiteRecovery.Actors.Configuration;

/// <summary>The cluster's one keeper of vaults, policies, clouds, network mappings, tokens and peers: a singleton on the configuration servers.</summary>
public sealed class ConfigurationActor : ReceivePersistentActor
{
    private ClusterConfiguration _configuration = ClusterConfiguration.Empty;

    public ConfigurationActor(TimeProvider clock)
    {
        Recover<ConfigurationEvent>(e => _configuration = _configuration.Apply(e));

        Command<ConfigurationCommand>(c => Carry(_configuration.Decide(c, clock.GetUtcNow())));
        Command<GetConfiguration>(_ => Sender.Tell(_configuration.View()));
        Command<PlanNetworks>(q => Sender.Tell(new NetworksPlanned(_configuration.Plan(q.Work), q.Ended)));
        Command<CheckToken>(q => Sender.Tell(_configuration.Check(q.Hash)));
        Command<GetAudit>(q => Sender.Tell(new AuditEntries([.. _configuration.Audit.Reverse().Take(q.Limit)])));
    }

    public override string PersistenceId => "configuration";

    public static Props Props(TimeProvider clock) => Akka.Actor.Props.Create(() => new ConfigurationActor(clock));

    private void Carry(ConfigurationDecision decision)
    {
        var asker = Sender;
        if (decision.Event is { } happened) Persist(happened, e => _configuration = _configuration.Apply(e));
        DeferAsync(decision.Reply, reply => asker.Tell(reply));      // only now is it durable
    }
}
