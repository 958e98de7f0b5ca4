using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.MasterTargets;

/// <summary>What a disk does not give is waited for, but not for ever.</summary>
public sealed class UnreadableOrdersTests
{
    private static readonly RecoveryPoint Point = new(Epoch.First, new Sequence(5), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent, null);
    private static readonly OpenEpoch Order = new(new MachineId("vm1"), new Epoch(2), Point, new SiteName("lyon"));
    private static readonly IOException BadSector = new("Input/output error", 5), Full = new("No space left on device", 28);
    private readonly SteppedClock _clock = new();
    private readonly UnreadableOrders _orders;

    public UnreadableOrdersTests() => _orders = new UnreadableOrders(_clock);

    [Fact]
    public void A_bad_sector_is_waited_for_and_then_lost_to_the_order_that_needs_it()
    {
        Assert.False(_orders.IsLost(Order, BadSector));
        _clock.Step(TimeSpan.FromSeconds(14));
        Assert.False(_orders.IsLost(Order, BadSector));
        _clock.Step(TimeSpan.FromSeconds(1));
        Assert.True(_orders.IsLost(Order, BadSector));
        Assert.False(_orders.IsLost(Order with { Epoch = new Epoch(3) }, BadSector)); // ordered again, with another point say
    }

    [Fact]
    public void What_was_done_in_between_begins_to_be_waited_for_anew()
    {
        Assert.False(_orders.IsLost(Order, BadSector));
        _clock.Step(TimeSpan.FromSeconds(20));
        _orders.Forget(Order);
        Assert.False(_orders.IsLost(Order, BadSector));
    }

    [Fact]
    public void What_was_read_and_is_not_what_was_written_is_lost_at_once_and_a_full_disk_never_is()
    {
        Assert.True(_orders.IsLost(Order, new IOException("segment 2 is damaged", new InvalidDataException("hash"))));
        Assert.False(_orders.IsLost(Order, Full));
        _clock.Step(TimeSpan.FromHours(1));
        Assert.False(_orders.IsLost(Order, Full));
        Assert.False(_orders.IsLost(new RemoveStore(Order.Machine, Order.Epoch, Order.TargetSite), BadSector));
    }

    /// <summary>Both go on by themselves when they may: a failure for good would end their job.</summary>
    [Fact]
    public void What_a_side_that_lost_does_not_give_is_waited_for_and_fails_nothing_for_good()
    {
        Work tail = new TakeBackTail(Order.Machine, Order.Epoch, new AgentName("a1"), null, Order.TargetSite, new ReplicaSource(null, Order.Epoch, Point), Order.TargetSite);
        Work next = new ContinueStore(Order.Machine, Order.Epoch, new StoreContinuation(Epoch.First), Point.Sequence, [], Order.TargetSite);
        var unread = new UnreadLayerException("Input/output error", new UnreadableException(BadSector));
        foreach (var (work, failure) in new[] { (tail, BadSector), (next, unread) })
        {
            Assert.False(_orders.IsLost(work, failure));
            Assert.False(_orders.IsOverdue(work));
            _clock.Step(TimeSpan.FromSeconds(15));
            Assert.False(_orders.IsLost(work, failure));
            Assert.True(_orders.IsOverdue(work));
        }
        // It was read, and what could not be written is no reason to give it up.
        Assert.False(_orders.IsLost(next, BadSector));
        Assert.False(_orders.IsOverdue(next));
    }

    private sealed class SteppedClock : TimeProvider
    {
        private long _ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => _ticks;
        public void Step(TimeSpan by) => _ticks += by.Ticks;
    }
}
