using Akka.Actor;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using Xunit;

namespace SiteRecovery.Actors.Tests.Configuration;

public sealed class NetworkPlanningTests() : TestKit(TestSettings.Config)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly SiteName Primary = new("primary"), Secondary = new("secondary");
    private static readonly RecoveryPoint Point = new(Epoch.First, new Sequence(5), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent);
    private static readonly NetworkMapping Mapping = new("m1", "v1", [new NetworkPair("bridge:lan", "bridge:dr", "bridge:bubble", FailbackTest: "bridge:home")], [], []);

    [Fact]
    public async Task An_order_to_run_a_replica_gets_the_networks_of_its_site_and_purpose_and_a_restart_forgets_none()
    {
        var actor = await ConfiguredAsync();
        Assert.Equal(("bridge:dr", "bridge:bubble"), (NetworkOf(await PlannedAsync(actor, Serve(Secondary))), NetworkOf(await PlannedAsync(actor, Test(Secondary)))));
        Assert.Equal(("bridge:lan", "bridge:home"), (NetworkOf(await PlannedAsync(actor, Serve(Primary))), NetworkOf(await PlannedAsync(actor, Test(Primary)))));
        Assert.Null(((ServeReplica)await PlannedAsync(actor, Serve(Secondary) with { Machine = new MachineId("other") })).Networks);
        // What compares by value is not done twice.
        Assert.Equal(await PlannedAsync(actor, Serve(Secondary)), await PlannedAsync(actor, Serve(Secondary)));
        await actor.GracefulStop(Patience);
        Assert.Equal("bridge:dr", NetworkOf(await PlannedAsync(Sys.ActorOf(ConfigurationActor.Props(TimeProvider.System)), Serve(Secondary))));
    }

    [Fact]
    public async Task What_is_in_use_stays_and_what_is_unknown_is_refused()
    {
        var actor = await ConfiguredAsync();
        Assert.Equal("inUse", await RefusedAsync(actor, new RemoveNetworkMapping("admin", "m1")));
        Assert.Equal("inUse", await RefusedAsync(actor, new SaveNetworkMapping("admin", Mapping with { Name = "m2" })));
        Assert.Equal("notFound", await RefusedAsync(actor, new SaveNetworkMapping("admin", Mapping with { Vault = "v9" })));
        Assert.Equal("notFound", await RefusedAsync(actor, new RemoveNetworkMapping("admin", "m9")));
        Assert.Equal("invalid", await RefusedAsync(actor, new SaveNetworkMapping("admin", Mapping with { Networks = [new NetworkPair("lan")] })));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new UnlistMachine("admin", new MachineId("db1"))));
        Assert.Equal("inUse", await RefusedAsync(actor, new RemoveVault("admin", "v1")));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RemoveNetworkMapping("admin", "m1")));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RemoveVault("admin", "v1")));
    }

    [Fact]
    public async Task The_end_of_an_order_does_not_overtake_the_order_and_fences_wait_for_nobody()
    {
        var configuration = CreateTestProbe();
        var router = Sys.ActorOf(WorkRouterActor.Props(CreateTestProbe(), configuration));
        router.Tell(Test(Secondary));
        router.Tell(new WorkEnded(Test(Secondary)));
        router.Tell(new RemoveTest(new MachineId("db1"), "t1", Point, Secondary));
        router.Tell(new FenceReplica(new MachineId("db1"), new Epoch(3), new Epoch(2), Secondary));
        Assert.Equal([("ServeTest", false), ("ServeTest", true), ("RemoveTest", false)],
            new[] { await configuration.ExpectMsgAsync<PlanNetworks>(), await configuration.ExpectMsgAsync<PlanNetworks>(), await configuration.ExpectMsgAsync<PlanNetworks>() }.Select(p => (p.Work.GetType().Name, p.Ended)));
        await configuration.ExpectNoMsgAsync(TimeSpan.FromMilliseconds(200));
    }

    private async Task<IActorRef> ConfiguredAsync()
    {
        var actor = Sys.ActorOf(ConfigurationActor.Props(TimeProvider.System));
        foreach (var command in new ConfigurationCommand[]
        {
            new SaveVault("admin", new Vault("v1", Primary, Secondary)), new SaveNetworkMapping("admin", Mapping), new ListMachine("admin", new MachineId("db1"), "v1"),
        }) Assert.IsType<ConfigurationAccepted>(await Ask(actor, command));
        return actor;
    }

    private static ServeReplica Serve(SiteName site) => new(new MachineId("db1"), new Epoch(2), Point, site, null, new Epoch(2), ReplicationPolicy.Default);

    private static ServeTest Test(SiteName site) => new(new MachineId("db1"), "t1", Point, site);

    private static async Task<Work> PlannedAsync(IActorRef actor, Work work) => (await actor.Ask<NetworksPlanned>(new PlanNetworks(work, false), Patience)).Work;

    private static string? NetworkOf(Work work) => NetworkPlan.FromJson((work as ServeReplica)?.Networks ?? ((ServeTest)work).Networks!).NetworkOf("bridge:lan");

    private static async Task<string> RefusedAsync(IActorRef actor, ConfigurationCommand command)
    {
        var refused = Assert.IsType<ConfigurationRefused>(await Ask(actor, command));
        Assert.NotEmpty(refused.Remedy);
        return refused.Code;
    }

    private static Task<ConfigurationReply> Ask(IActorRef actor, ConfigurationCommand command) => actor.Ask<ConfigurationReply>(command, Patience);
}
