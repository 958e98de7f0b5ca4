using Akka.Actor;
using Akka.Configuration;
using Akka.Hosting;
using Akka.Persistence;
using Akka.Persistence.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using Xunit;

namespace SiteRecovery.Actors.Tests.Configuration;

/// <summary>A cluster of one node, with all that a configuration server has: its singleton outlives a journal that fails.</summary>
public sealed class KeptConfigurationTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30), OneTry = TimeSpan.FromSeconds(1);
    private static readonly SiteName Home = new("home");
    private readonly ServiceProvider _services = Services();

    private ActorSystem System => _services.GetRequiredService<ActorSystem>();
    private IActorRef Configuration => ActorRegistry.For(System).Get<ConfigurationActor>();

    public async Task InitializeAsync()
    {
        foreach (var hosted in _services.GetServices<IHostedService>()) await hosted.StartAsync(CancellationToken.None);
        await AnswersAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_journal_that_fails_ends_neither_the_configuration_nor_what_goes_by_it(bool recoveryFailsToo)
    {
        var journal = TestJournal.FromRef(Persistence.Instance.Apply(System).JournalFor(null));
        // A journal that holds nothing fails no recovery: what a node notes of its cluster comes there some seconds later only.
        await Configuration.Ask<ConfigurationReply>(new RecordAudit("admin", "list", "db1", "accepted"), Patience);
        await journal.OnWrite.Fail();
        if (recoveryFailsToo) await journal.OnRecovery.Fail();
        await Assert.ThrowsAnyAsync<Exception>(() => Configuration.Ask<ConfigurationReply>(new RecordAudit("admin", "list", "db1", "accepted"), OneTry));
        await journal.OnWrite.Pass();
        if (recoveryFailsToo)
        {
            // It is tried again meanwhile, and fails.
            await Assert.ThrowsAnyAsync<Exception>(() => Configuration.Ask<ConfigurationView>(new GetConfiguration(), OneTry * 2));
            await journal.OnRecovery.Pass();
        }
        await AnswersAsync();
        await ReachesItsReceiverAsync();
    }

    /// <summary>Told again, as a machine does it.</summary>
    private async Task ReachesItsReceiverAsync()
    {
        using var inbox = Inbox.Create(System);
        System.ActorOf(Props.Create(() => new Receiver(inbox.Receiver)), NodeRoles.MasterTarget);
        var serve = new ServeReplica(new MachineId("db1"), new Epoch(2), new RecoveryPoint(Epoch.First, new Sequence(5), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent), Home, null, new Epoch(2), ReplicationPolicy.Default);
        ActorRegistry.For(System).Get<WorkRouterActor>().Tell(serve);
        Assert.Equal(serve, await inbox.ReceiveAsync(Patience));
    }

    private async Task AnswersAsync()
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            try
            {
                await Configuration.Ask<ConfigurationView>(new GetConfiguration(), OneTry, patience.Token);
                return;
            }
            catch (AskTimeoutException) when (!patience.IsCancellationRequested)
            {
                // Asked again.
            }
        }
    }

    private static ServiceProvider Services() => new ServiceCollection().AddLogging().AddSingleton<IHostApplicationLifetime, Life>().AddAkka("kept", akka =>
    {
        var clustered = ConfigurationFactory.ParseString("""
            akka.loglevel = OFF
            akka.stdout-loglevel = OFF
            akka.actor.provider = cluster
            akka.remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
            akka.cluster.roles = ["configuration-server", "master-target"]
            akka.cluster.min-nr-of-members = 1
            """);
        akka.AddHocon(clustered.WithFallback(TestSettings.Config), HoconAddMode.Prepend);
        akka.AddStartup((system, _) => Akka.Cluster.Cluster.Get(system).Join(Akka.Cluster.Cluster.Get(system).SelfAddress));
        var own = new NodeAnnouncement("kept-1", "akka://kept", Home, [NodeRoles.ConfigurationServer, NodeRoles.MasterTarget], "127.0.0.1", "", 1, 2, [], StoresHeld.None);
        akka.AddSiteRecoveryNode(own, TimeProvider.System);
    }).BuildServiceProvider();

    public async Task DisposeAsync()
    {
        await System.Terminate();
        await _services.DisposeAsync();
    }

    private sealed class Receiver : ReceiveActor
    {
        public Receiver(IActorRef to) => ReceiveAny(message => to.Forward(message));
    }

    private sealed class Life : IHostApplicationLifetime
    {
        public CancellationToken ApplicationStarted => CancellationToken.None;
        public CancellationToken ApplicationStopping => CancellationToken.None;
        public CancellationToken ApplicationStopped => CancellationToken.None;
        public void StopApplication() { }
    }
}
