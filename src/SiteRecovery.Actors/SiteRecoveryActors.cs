using Akka.Actor;
using Akka.Cluster.Hosting;
using Akka.Cluster.Sharding;
using Akka.Hosting;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Actors;

/// <summary>One extension per role; a node's start is a list of them.</summary>
public static class SiteRecoveryActors
{
    /// <summary>Serializers of all messages: every node needs them, whatever its roles.</summary>
    public static AkkaConfigurationBuilder AddSiteRecoverySerialization(this AkkaConfigurationBuilder builder) =>
        builder.AddHocon(SerializationSettings.Hocon, HoconAddMode.Prepend);

    /// <summary>
    /// The machines' shards and the configuration singleton. Ask <c>IRequiredActor&lt;ProtectedMachineActor&gt;</c> and
    /// <c>IRequiredActor&lt;ConfigurationActor&gt;</c>.
    /// </summary>
    public static AkkaConfigurationBuilder AddConfigurationServer(this AkkaConfigurationBuilder builder, TimeProvider clock) => builder
        .WithActors((system, registry) => registry.Register<WorkRouterActor>(system.ActorOf(Props.Create<WorkRouterActor>(), "work-router")))
        .WithSingleton<ConfigurationActor>(
            "configuration", (_, _, _) => ConfigurationActor.Props(clock), new ClusterSingletonOptions { Role = NodeRoles.ConfigurationServer })
        .WithShardRegion<ProtectedMachineActor>(
            "protected-machines",
            (_, registry, _) => id => ProtectedMachineActor.Props(new MachineId(id), registry.Get<WorkRouterActor>(), clock),
            new MachineShards(),
            new ShardOptions
            {
                Role = NodeRoles.ConfigurationServer,
                RememberEntities = true,
                StateStoreMode = StateStoreMode.DData,
                RememberEntitiesStore = RememberEntitiesStore.Eventsourced,
            });
}
