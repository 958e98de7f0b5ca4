using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Http;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What the API shows of a machine whose agent is not heard.</summary>
public sealed class MachineViewTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 30, 19, 0, 0, TimeSpan.Zero);

    private static readonly AgentReport Said = new(
        new MachineId("db1"), Connected: true, 1, "Streaming", new Sequence(9), new Sequence(9), 4096, 1, 2, 3, 4, 5, false, null, "two agents bear the identity 'host1'",
        [new CapturedDisk(0, "nbd+unix:///db1.vda", "slow")], new SpoolReport(100, Now, LinkUp: true, "late", null), Source: "host1");

    [Fact]
    public void While_it_is_heard_all_that_it_says_is_shown()
    {
        var view = ViewOf(Said, Now.AddSeconds(-5));
        Assert.Equal((4196, "nbd+unix:///db1.vda", "slow"), (view.Lag?.Bytes, view.Disks[0].CaptureUri, view.Disks[0].Error));
        Assert.Equal((true, "Streaming", true, Said.Error, "late"), (view.Replication!.AgentConnected, view.Replication.AgentMode, view.Replication.LinkUp, view.Replication.AgentError, view.Replication.LinkError));
        Assert.NotNull(view.Progress);
    }

    [Theory]
    [InlineData(false, 1)] // its process server says that it is gone
    [InlineData(true, 6)] // nobody says anything
    public void When_it_is_not_nothing_is_shown_as_if_it_were(bool connected, int secondsAgo)
    {
        var view = ViewOf(Said with { Connected = connected }, Now.AddSeconds(-secondsAgo));
        Assert.Equal((null, null, null, null), (view.Lag, view.Progress, view.Disks[0].CaptureUri, view.Disks[0].Error));
        Assert.Equal((false, "unknown", null, null, null), (view.Replication!.AgentConnected, view.Replication.AgentMode, view.Replication.LinkUp, view.Replication.AgentError, view.Replication.LinkError));
        Assert.Equal((9, Now.AddSeconds(-secondsAgo)), (view.Replication.NewestSequence, view.Replication.AgentHeardAt));
        Assert.Contains("heard last at 2026-11-30 18:59:5", view.Health.Reasons.Single(r => r.Code == "agentDisconnected").Reason, StringComparison.Ordinal);
    }

    private static MachineView ViewOf(AgentReport said, DateTimeOffset heardAt)
    {
        var enabled = new ProtectionEnabled(Now, new CommandId("e"), Epoch.First, 1, new AgentName("host1"), new SiteName("primary"), new SiteName("secondary"),
            [new DiskSpec(0, "vda", "/db1.raw", 1 << 20, "nbd")], "default", ReplicationPolicy.Default);
        return MachineView.Of(new MeasuredMachine(ProtectedMachine.New(new MachineId("db1")).Apply(enabled), null, Now, said, heardAt), Now);
    }
}
