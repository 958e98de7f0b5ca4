using Akka.Actor;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Vaults;
using Xunit;

namespace SiteRecovery.Actors.Tests.Configuration;

public sealed class ConfigurationActorTests() : TestKit(TestSettings.Config)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly SiteName Primary = new("primary");

    [Fact]
    public async Task What_was_accepted_is_there_after_a_restart()
    {
        var actor = Start();
        var vault = new Vault("v1", Primary, new SiteName("secondary"));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new SaveVault("admin", vault)));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new AddToken("admin", new AccessToken("ops", "ab12", TokenRole.Operator))));
        await actor.GracefulStop(Patience);

        actor = Start();
        Assert.Equal(vault, Assert.Single((await actor.Ask<ConfigurationView>(new GetConfiguration(), Patience)).Vaults));
        Assert.Equal("ops", (await actor.Ask<TokenChecked>(new CheckToken("ab12"), Patience)).Token?.Name);
        Assert.Null((await actor.Ask<TokenChecked>(new CheckToken("ab13"), Patience)).Token);
        Assert.Equal(["add-token", "save-vault"], (await actor.Ask<AuditEntries>(new GetAudit(10), Patience)).Entries.Select(e => e.Action));
    }

    [Fact]
    public async Task Nodes_that_were_members_are_known_after_a_restart_until_they_are_forgotten()
    {
        KnownNode[] nodes = [new("n1", Primary, ["process-server"], "akka://1"), new("n2", new SiteName("secondary"), ["configuration-server"], "akka://2")];
        var actor = Start();
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new NoteNodes("cluster", [.. nodes])));
        await actor.GracefulStop(Patience);

        actor = Start();
        Assert.Equal(nodes, (await actor.Ask<KnownNodes>(new GetKnownNodes(), Patience)).Nodes);
        await Ask(actor, new NoteNodes("cluster", [nodes[0] with { Address = "akka://3" }]));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new ForgetNode("admin", "n2")));
        Assert.IsType<ConfigurationRefused>(await Ask(actor, new ForgetNode("admin", "n2")));
        Assert.Equal(nodes[0] with { Address = "akka://3" }, Assert.Single((await actor.Ask<KnownNodes>(new GetKnownNodes(), Patience)).Nodes));
        // That somebody forgot one is of interest, not that nodes come and go.
        Assert.Equal(["forget-node"], (await actor.Ask<AuditEntries>(new GetAudit(10), Patience)).Entries.Select(e => e.Action));
    }

    /// <summary>They are told every few seconds.</summary>
    [Fact]
    public void Nodes_that_are_known_already_are_no_event()
    {
        var told = new NoteNodes("cluster", [new("n1", Primary, ["process-server", "master-target"], "akka://1")]);
        var happened = ClusterConfiguration.Empty.Decide(told, DateTimeOffset.UnixEpoch).Event;
        var known = ClusterConfiguration.Empty.Apply(happened!);
        Assert.Null(known.Decide(new NoteNodes("cluster", [new("n1", Primary, ["process-server", "master-target"], "akka://1")]), DateTimeOffset.UnixEpoch).Event);
        Assert.NotNull(known.Decide(new NoteNodes("cluster", [new("n1", Primary, ["process-server"], "akka://1")]), DateTimeOffset.UnixEpoch).Event);
    }

    [Fact]
    public async Task A_join_token_admits_one_peer_of_its_kind_and_no_second()
    {
        var actor = Start();
        await Ask(actor, new AddJoinToken("admin", new JoinToken("h", PeerKind.Agent, Primary, TimeProvider.System.GetUtcNow().AddHours(1))));
        Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("n1", "h", PeerKind.Node, "01")));
        var accepted = Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RedeemJoinToken("a1", "h", PeerKind.Agent, "02")));
        Assert.Equal(Primary, accepted.Peer?.Site);
        Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("a2", "h", PeerKind.Agent, "03")));
    }

    [Fact]
    public async Task A_name_that_is_known_is_taken_over_only_by_a_token_that_names_it()
    {
        var (actor, later) = (Start(), TimeProvider.System.GetUtcNow().AddHours(1));
        foreach (var (hash, name) in new[] { ("first", null), ("any", null), ("named", "a1") })
            await Ask(actor, new AddJoinToken("admin", new JoinToken(hash, PeerKind.Agent, Primary, later, name)));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RedeemJoinToken("a1", "first", PeerKind.Agent, "01")));

        // Its answer got lost: whatever it tries next, it is told the command that helps.
        foreach (var (hash, code) in new[] { ("first", "joinTokenInvalid"), ("any", "nameTaken") })
        {
            var refused = Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("a1", hash, PeerKind.Agent, "02")));
            Assert.Equal(code, refused.Code);
            Assert.Contains("'srctl agent join-token --name a1'", refused.Remedy, StringComparison.Ordinal);
        }
        Assert.Equal("joinTokenForAnother", Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("a2", "named", PeerKind.Agent, "02"))).Code);
        await actor.GracefulStop(Patience);

        actor = Start();
        Assert.Equal("01", Assert.Single((await actor.Ask<ConfigurationView>(new GetConfiguration(), Patience)).Peers).CertificateSerial);
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RedeemJoinToken("a1", "named", PeerKind.Agent, "03")));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RedeemJoinToken("a2", "any", PeerKind.Agent, "04"))); // the refusals have not used it up
        Assert.Equal(["03", "04"], (await actor.Ask<ConfigurationView>(new GetConfiguration(), Patience)).Peers.Select(p => p.CertificateSerial));
    }

    [Fact]
    public async Task A_node_that_comes_with_another_site_than_its_token_says_neither_uses_it_up_nor_takes_its_name()
    {
        var actor = Start();
        await Ask(actor, new AddJoinToken("admin", new JoinToken("h", PeerKind.Node, Primary, TimeProvider.System.GetUtcNow().AddHours(1))));
        Assert.Equal("invalid", Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("n1", "h", PeerKind.Node, "01", new SiteName("secondary")))).Code);
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RedeemJoinToken("n1", "h", PeerKind.Node, "02", Primary)));
    }

    [Fact]
    public async Task A_join_token_is_refused_once_it_has_expired_and_the_first_token_is_seeded_once()
    {
        var actor = Sys.ActorOf(ConfigurationActor.Props(new LaterClock()));
        var now = TimeProvider.System.GetUtcNow();
        await Ask(actor, new AddJoinToken("admin", new JoinToken("h", PeerKind.Agent, Primary, now.AddDays(1).AddMinutes(1))));
        LaterClock.Ahead = TimeSpan.FromDays(1) + TimeSpan.FromMinutes(2);
        Assert.Equal("joinTokenInvalid", Assert.IsType<ConfigurationRefused>(await Ask(actor, new RedeemJoinToken("a1", "h", PeerKind.Agent, "02"))).Code);

        var first = new SeedToken("first-node", new AccessToken("admin", "h1", TokenRole.Administrator));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, first));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, first));
        Assert.IsType<ConfigurationRefused>(await Ask(actor, first with { Token = first.Token with { Hash = "h2" } }));
    }

    private sealed class LaterClock : TimeProvider
    {
        public static TimeSpan Ahead { get; set; } = TimeSpan.FromDays(1);
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Ahead;
    }

    /// <summary>Anybody with a viewer's token can be refused without end.</summary>
    [Fact]
    public async Task Refusals_push_nothing_out_of_the_audit_log_but_refusals()
    {
        var actor = Start();
        await Ask(actor, new AddToken("admin", new AccessToken("stolen", "ab12", TokenRole.Operator)));
        await Ask(actor, new RecordAudit("stolen", "POST /api/v1/machines/db1/pause", "10.0.0.1", "202"));
        await Ask(actor, new RecordAudit("eve", "POST /api/v1/machines/first/commit", "10.0.0.9", "403"));
        for (var i = 0; i < AuditTrail.EachMax; i++) actor.Tell(new RecordAudit("eve", $"POST /api/v1/machines/{new string('x', 8000)}/commit", "10.0.0.9", "403"));
        await Ask(actor, new RecordAudit("ops", "POST /api/v1/machines/db1/resume", "10.0.0.1", "503")); // nobody knows what came of it

        var entries = (await actor.Ask<AuditEntries>(new GetAudit(2 * AuditTrail.EachMax), Patience)).Entries;
        Assert.Equal(["ops", "eve", "eve"], entries.Take(3).Select(e => e.By));
        Assert.Equal(["stolen", "admin"], entries.TakeLast(2).Select(e => e.By));
        Assert.Equal(AuditTrail.EachMax, entries.Count(e => e.By == "eve"));
        Assert.DoesNotContain(entries, e => e.Action.Length > 256 || e.Action.Contains("first", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_site_cannot_protect_itself() =>
        Assert.IsType<ConfigurationRefused>(await Ask(Start(), new SaveVault("admin", new Vault("v", Primary, Primary))));

    [Fact]
    public async Task The_last_administrator_stays_and_a_vault_with_machines_keeps_its_sites()
    {
        var actor = Start();
        await Ask(actor, new SeedToken("first-node", new AccessToken("admin", "h1", TokenRole.Administrator)));
        await Ask(actor, new AddToken("admin", new AccessToken("ops", "h2", TokenRole.Operator)));
        Assert.Equal("inUse", Assert.IsType<ConfigurationRefused>(await Ask(actor, new RevokeToken("admin", "admin"))).Code);
        await Ask(actor, new AddToken("admin", new AccessToken("chief", "h3", TokenRole.Administrator)));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new RevokeToken("admin", "admin")));
        Assert.Equal("inUse", Assert.IsType<ConfigurationRefused>(await Ask(actor, new RevokeToken("chief", "chief"))).Code);

        var vault = new Vault("v1", Primary, new SiteName("secondary"));
        await Ask(actor, new SaveVault("admin", vault));
        await Ask(actor, new ListMachine("admin", Examples.Vm, "v1"));
        Assert.Equal("v1", (await actor.Ask<Listing>(new GetListing(Examples.Vm), Patience)).Vault);
        Assert.Null((await actor.Ask<Listing>(new GetListing(new MachineId("vm2")), Patience)).Vault);
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new SaveVault("admin", vault)));
        var refused = Assert.IsType<ConfigurationRefused>(await Ask(actor, new SaveVault("admin", vault with { TargetSite = new SiteName("third") })));
        Assert.Contains(Examples.Vm.Value, refused.Reason, StringComparison.Ordinal);
        await Ask(actor, new UnlistMachine("admin", Examples.Vm));
        Assert.IsType<ConfigurationAccepted>(await Ask(actor, new SaveVault("admin", vault with { TargetSite = new SiteName("third") })));
    }

    private IActorRef Start() => Sys.ActorOf(ConfigurationActor.Props(TimeProvider.System));

    private static Task<ConfigurationReply> Ask(IActorRef actor, ConfigurationCommand command) => actor.Ask<ConfigurationReply>(command, Patience);
}
