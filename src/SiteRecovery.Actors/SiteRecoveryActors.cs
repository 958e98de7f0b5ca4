using Akka.Actor;
using Akka.Cluster.Hosting;
using Akka.Cluster.Sharding;
using Akka.Hosting;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
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
    /// What every node has: its site actor, and the ways to the machines and to the configuration. Ask
    /// <c>IRequiredActor&lt;ProtectedMachineActor&gt;</c>, <c>&lt;ConfigurationActor&gt;</c> and <c>&lt;SiteActor&gt;</c>.
    /// </summary>
    public static AkkaConfigurationBuilder AddSiteRecoveryNode(this AkkaConfigurationBuilder builder, NodeAnnouncement own, TimeProvider clock)
    {
        builder.AddSiteRecoverySerialization()
            .WithActors((system, registry) => registry.Register<SiteActor>(system.ActorOf(SiteActor.Props(own), SiteActor.Name)));
        if (own.Has(NodeRoles.ConfigurationServer)) return builder.AddConfigurationServer(clock);
        return builder
            .WithSingletonProxy<ConfigurationActor>(ConfigurationName, new ClusterSingletonOptions { Role = NodeRoles.ConfigurationServer })
            .WithShardRegionProxy<ProtectedMachineActor>(MachinesName, NodeRoles.ConfigurationServer, new MachineShards());
    }

    private const string ConfigurationName = "configuration", MachinesName = "protected-machines";

    /// <summary>The machines' shards and the configuration singleton.</summary>
    private static AkkaConfigurationBuilder AddConfigurationServer(this AkkaConfigurationBuilder builder, TimeProvider clock) => builder
        .WithSingleton<ConfigurationActor>(
            ConfigurationName, (_, _, _) => ConfigurationActor.Kept(clock), new ClusterSingletonOptions { Role = NodeRoles.ConfigurationServer })
        .WithActors((system, registry) => registry.Register<WorkRouterActor>(system.ActorOf(WorkRouterActor.Props(registry.Get<SiteActor>(), registry.Get<ConfigurationActor>()), "work-router")))
        .WithActors((system, registry) => system.ActorOf(NodeNotesActor.Props(registry.Get<SiteActor>(), registry.Get<ConfigurationActor>()), "node-notes"))
        .WithShardRegion<ProtectedMachineActor>(
            MachinesName,
            (_, registry, _) => id => ProtectedMachineActor.Props(new MachineId(id), registry.Get<WorkRouterActor>(), clock),
            new MachineShards(),
            new ShardOptions
            {
                Role = NodeRoles.ConfigurationServer,
                RememberEntities = true,
                StateStoreMode = StateStoreMode.DData,
                RememberEntitiesStore = RememberEntitiesStore.Eventsourced,
            });

    public static AkkaConfigurationBuilder AddProcessServer(this AkkaConfigurationBuilder builder, ProcessServerRoom room, TimeProvider clock) => builder
        .WithActors((system, registry) => registry.Register<ProcessServerActor>(system.ActorOf(
            ProcessServerActor.Props(room, registry.Get<ProtectedMachineActor>(), registry.Get<SiteActor>(), clock, registry.Get<ConfigurationActor>()), NodeRoles.ProcessServer)));

    public static AkkaConfigurationBuilder AddMasterTarget(this AkkaConfigurationBuilder builder, MasterTargetRoom room, NodeAnnouncement own) => builder
        .WithActors((system, registry) => registry.Register<MasterTargetActor>(system.ActorOf(
            MasterTargetActor.Props(room, own, registry.Get<ProtectedMachineActor>(), registry.Get<SiteActor>()), NodeRoles.MasterTarget)));
}
