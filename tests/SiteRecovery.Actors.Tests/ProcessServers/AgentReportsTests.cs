using System.Collections.Immutable;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.Tests.ProcessServers;

public sealed class AgentReportsTests
{
    /// <summary>Cancelled and begun again in between, the source may have taken writes.</summary>
    [Fact]
    public void What_an_earlier_drain_found_says_nothing_of_a_later_one()
    {
        var wanted = new ReplicateFrom(new MachineId("vm1"), Epoch.First, new("host-a"), ImmutableArray<DiskSpec>.Empty, new("paris"), new("lyon"), ReplicationPolicy.Default, false, false, Round: 7, Drain: true);
        var status = new MachineStatus { Machine = "vm1", Epoch = 1, Mode = "Streaming", NewestSequence = 5, DrainedHash = "ab", Round = 5 };
        Assert.Null(AgentReports.Of(wanted, status));
        Assert.Equal(7, Assert.IsType<SourceDrained>(AgentReports.Of(wanted, status with { Round = 7 })).Round);
    }

    [Fact]
    public void How_the_machine_was_stopped_is_told_with_what_comes_after_it()
    {
        var wanted = new ReplicateFrom(new MachineId("vm1"), Epoch.First, new("host-a"), ImmutableArray<DiskSpec>.Empty, new("paris"), new("lyon"), ReplicationPolicy.Default, false, false, Round: 7, Drain: true);
        var status = new MachineStatus { Machine = "vm1", Epoch = 1, Mode = "Streaming", NewestSequence = 5, DrainWaitsFor = "the machine", Round = 7 };
        Assert.Null(Assert.IsType<DrainWaits>(AgentReports.Of(wanted, status)).Stopped);
        Assert.Equal("shut down", Assert.IsType<DrainWaits>(AgentReports.Of(wanted, status with { DrainStopped = "shut down" })).Stopped);
        Assert.Equal("shut down", Assert.IsType<SourceDrained>(AgentReports.Of(wanted, status with { DrainStopped = "shut down", DrainWaitsFor = null, DrainedHash = "ab" })).Stopped);
    }

    /// <summary>The epoch begins on the promise, and on nothing less.</summary>
    [Fact]
    public void A_drained_source_is_held_only_when_it_says_so_and_lapsed_when_it_says_that()
    {
        var wanted = new ReplicateFrom(new MachineId("vm1"), Epoch.First, new("host-a"), ImmutableArray<DiskSpec>.Empty, new("paris"), new("lyon"), ReplicationPolicy.Default, false, false, Round: 7, Drain: true, Hold: true);
        var status = new MachineStatus { Machine = "vm1", Epoch = 1, Mode = "Streaming", NewestSequence = 5, DrainedHash = "ab", Round = 7 };
        Assert.IsType<SourceDrained>(AgentReports.Of(wanted, status));
        Assert.Equal(new DrainedSource(new Sequence(5), "ab"), Assert.IsType<SourceHeld>(AgentReports.Of(wanted, status with { DrainHeld = true })).Source);
        Assert.Null(AgentReports.Of(wanted, status with { DrainHeld = true, DrainedHash = null }));
        Assert.IsType<DrainLapsed>(AgentReports.Of(wanted, status with { DrainedHash = null, DrainLapsed = "silence" }));
        Assert.Null(AgentReports.Of(wanted, status with { DrainedHash = null, DrainLapsed = "silence", Round = 5 }));
    }
}
