using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class FailoverTests
{
    [Fact]
    public void A_failover_forks_the_history_then_serves_the_replica_and_fences_the_source_as_soon_as_nothing_is_in_its_way()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point);

        Assert.Equal(new Epoch(2), story.State.Epoch);
        Assert.Equal(
            [
                new HoldStore(Story.Vm1, Epoch.First, Story.Disks, Story.Target, story.State.Protection!.Policy),
                new OpenEpoch(Story.Vm1, new Epoch(2), Story.Point, Story.Target),
            ],
            story.Pending.AsEnumerable());

        story.EpochOpened();
        Assert.Equal(["hold-store", "serve-replica", "fence-source"], story.PendingKinds);
        Assert.Equal(new Epoch(2), story.Pending.OfType<HoldStore>().Single().Epoch);

        story.Fenced().Served();
        Assert.Equal("FailoverCommitPending", story.Phase);
        Assert.Equal(["hold-store", "serve-replica"], story.PendingKinds);
        Assert.Equal(JobStatus.Succeeded, story.LastJob.Status);
        Assert.All(story.LastJob.Steps, s => Assert.Equal(JobStatus.Succeeded, s.Status));
    }

    /// <summary>The target's disk is gone, or its keys: a source that lives must not be stopped for that, nor the operator have to wait for it.</summary>
    [Fact]
    public void A_failover_that_the_target_cannot_begin_stops_nothing_and_can_be_cancelled()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point);
        Assert.DoesNotContain("fence-source", story.PendingKinds);
        Assert.Contains(MachineActions.CancelFailover, Transitions.AllowedNames(story.State.Phase, story.State.Circumstances));
        story.Cancelled();
        Assert.Equal("Resynchronizing", story.Phase);
        Assert.Equal(new Epoch(3), story.State.Epoch);
        Assert.DoesNotContain("fence-source", story.PendingKinds);
    }

    /// <summary>Its machine is production until then, and whoever ends the order ends it.</summary>
    [Fact]
    public void A_replica_that_is_failed_over_from_is_served_as_before_until_the_target_has_begun()
    {
        var story = new Story().Protected().Turned();
        var served = story.Pending.OfType<ServeReplica>().Single();
        var point = Story.Point with { Epoch = new Epoch(2) };
        foreach (var tell in (Func<Story>[])[() => story.FailedOverTo(point), () => story.Failed(WorkKind.OpenEpoch, permanent: true), story.Cancelled, () => story.FailedOverTo(point), story.Cancelled])
            Assert.Equal(served, tell().Pending.OfType<ServeReplica>().Single());
        Assert.True(served.GoesOnAs(story.StoreContinued().Pending.OfType<ServeReplica>().Single()));

        story.FailedOverTo(point).EpochOpened();
        Assert.Equal((Story.Source, story.State.Epoch), story.Pending.OfType<ServeReplica>().Select(s => (s.TargetSite, s.Layer)).Single());
        Assert.Equal(served.Layer, story.Pending.OfType<FenceReplica>().Single().Layer);
        // From here on it may not write, whatever becomes of the other side.
        Assert.Empty(story.Served().Cancelled().Pending.OfType<ServeReplica>());
        Assert.Empty(story.FailedOverTo(point).Pending.OfType<ServeReplica>());
    }

    [Fact]
    public void A_replica_that_cannot_be_served_any_more_keeps_nobody_from_failing_over_from_it()
    {
        var story = new Story().Protected().Turned().FailedOverTo(Story.Point with { Epoch = new Epoch(2) });
        var served = story.Pending.OfType<ServeReplica>().Single();
        story.When(new WorkFailed(Story.Vm1, story.NextId(), served.Epoch, served.Kind, "its layer is damaged", Permanent: true));
        Assert.Empty(story.State.Problems);
        Assert.Contains("open-epoch", story.PendingKinds);
        Assert.Equal("FailoverCommitPending", story.EpochOpened().Served().Phase);
    }

    /// <summary>Its hypervisor refuses, for one: the source is fenced, and what refuses may do so for good.</summary>
    [Fact]
    public void A_failover_whose_replica_does_not_start_can_be_cancelled_and_begun_again_from_another_point()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Failed(WorkKind.ServeReplica, permanent: false, "no virtualization here").Cancelled();
        Assert.Equal(new StoreContinuation(After: Epoch.First, Fold: new Epoch(2)), story.Pending.OfType<ContinueStore>().Single().Continuation);
        Assert.Equal(JobStatus.Cancelled, story.JobOf("unplanned-failover").Status);
        Assert.Empty(story.Served().Last.Events); // it comes late
        story.FailedOverTo(Story.Point with { Sequence = new Sequence(30) }).EpochOpened().Served();
        Assert.Equal("FailoverCommitPending", story.Phase);
    }

    /// <summary>It keeps nothing that could be fenced, or has lost what it knew.</summary>
    [Fact]
    public void An_agent_that_is_released_has_nothing_left_to_be_fenced()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Committed().Flattened().Disabled().Released().StoreGone();
        story.AgentGone();
        Assert.Null(story.State.Fence);
        Assert.Empty(story.Pending);
    }

    /// <summary>It may never begin it, and nothing else is allowed. Whether the replica's layer still lies over its point the store knows.</summary>
    [Fact]
    public void A_failover_to_another_point_can_be_cancelled_before_the_target_has_begun_it()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served();
        story.When(new ChangeRecoveryPoint(Story.Vm1, story.NextId(), Story.Point with { Sequence = new Sequence(30) }));
        story.Cancelled();
        Assert.Equal("Resynchronizing", story.Phase);
        Assert.Equal(new StoreContinuation(Epoch.First, new Epoch(2)), story.Pending.OfType<ContinueStore>().Single().Continuation);
    }

    [Fact]
    public void A_new_protection_elsewhere_does_not_forget_an_old_source_that_has_not_confirmed_its_end()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Committed();
        var fence = story.State.Fence!;
        story.Flattened().Disabled().Released();
        Assert.Contains("fence-source", story.PendingKinds);
        Assert.True(story.Pending.OfType<ReleaseAgent>().Single().Fence);
        story.StoreGone().When(Story.EnableWith(story.NextId()) with { Agent = new AgentName("host-b") });
        Assert.Equal("InitialReplication", story.Phase);
        Assert.Equal(fence, Assert.Single(story.State.FormerFences));
        Assert.Contains(story.Pending, w => w is FenceSource { Epoch.Value: 2 } f && f.Agent == Story.Agent);
        Assert.True(story.Pending.OfType<ReleaseAgent>().Single().Fence);
        story.When(new SourceFenced(Story.Vm1, story.NextId(), fence.Epoch));
        Assert.Empty(story.State.FormerFences);
        Assert.False(story.Pending.OfType<ReleaseAgent>().Single().Fence);
    }

    [Fact]
    public void Points_may_go_only_while_no_failover_and_no_test_may_need_one()
    {
        static bool MayForget(Story story) => story.Pending.OfType<HoldStore>().Single().MayForget;
        Assert.True(MayForget(new Story().Protected()));
        Assert.True(MayForget(new Story().Protected().Paused()));
        Assert.False(MayForget(new Story().Protected().TestStarted().TestServed()));
        Assert.True(MayForget(new Story().Protected().TestStarted().TestServed().TestCleanedUp().TestGone()));
        var story = new Story().Protected().FailedOverTo(Story.Point);
        Assert.False(MayForget(story));
        Assert.False(MayForget(story.EpochOpened().Served()));
        Assert.False(MayForget(story.Committed()));
        Assert.False(MayForget(new Story().Protected().PlannedStarted()));
    }

    [Fact]
    public void A_failover_with_a_dead_source_succeeds_with_a_warning_and_goes_on_fencing_after_the_commit()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served();
        Assert.Equal(JobStatus.SucceededWithWarnings, story.LastJob.Status);

        story.Committed();
        Assert.Equal("FailedOver", story.Phase);
        Assert.Contains("fence-source", story.PendingKinds);
        Assert.Equal(JobStatus.Succeeded, story.JobOf("commit").Status);

        story.Fenced();
        Assert.DoesNotContain("fence-source", story.PendingKinds);
        Assert.Equal(JobStatus.Succeeded, story.JobOf("unplanned-failover").Status);
        Assert.Empty(story.State.Problems);
    }

    [Fact]
    public void A_failed_attempt_at_fencing_does_not_fail_the_failover()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).Failed(WorkKind.FenceSource, permanent: true).EpochOpened().Served();

        Assert.Equal("FailoverCommitPending", story.Phase);
        Assert.Equal(JobStatus.SucceededWithWarnings, story.LastJob.Status);
    }

    [Fact]
    public void A_confirmation_of_an_older_fence_does_not_count()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point);
        Assert.Empty(story.When(new SourceFenced(Story.Vm1, story.NextId(), Epoch.First)).Last.Events);
        Assert.NotNull(story.State.Fence);
    }

    [Fact]
    public void A_failover_that_failed_for_good_can_be_repeated_in_a_new_epoch()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Failed(WorkKind.ServeReplica, permanent: true, "point is gone");
        Assert.Equal((JobStatus.Failed, "serve-replica: point is gone"), (story.LastJob.Status, story.LastJob.Error));
        Assert.DoesNotContain("serve-replica", story.PendingKinds);

        story.FailedOverTo(Story.Point with { Sequence = new(41) });
        Assert.Equal(new Epoch(3), story.State.Epoch);
        Assert.Equal(new Epoch(2), story.Pending.OfType<HoldStore>().Single().Epoch);
        Assert.Equal("FailoverCommitPending", story.EpochOpened().Served().Phase);
    }

    [Fact]
    public void A_failed_attempt_stays_failed_when_the_next_one_succeeds()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).Failed(WorkKind.OpenEpoch, permanent: true);
        var first = story.LastJob.Id;
        story.FailedOverTo(Story.Point).EpochOpened().Served();

        Assert.Equal(
            [("open-epoch", JobStatus.Failed), ("serve-replica", JobStatus.Cancelled), ("fence-source", JobStatus.Running)],
            story.State.Jobs.Find(first)!.Steps.Select(s => (s.Name, s.Status)));
        Assert.Equal(JobStatus.SucceededWithWarnings, story.LastJob.Status);
    }

    [Fact]
    public void A_failover_that_is_being_retried_goes_on()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).Failed(WorkKind.OpenEpoch, permanent: false);

        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        Assert.Contains("open-epoch", story.PendingKinds);
        Assert.Equal("no route", story.LastJob.Steps[0].Detail);
    }

    [Fact]
    public void The_replica_is_not_served_while_a_disk_is_missing()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened();
        story.When(new ReplicaServed(Story.Vm1, story.NextId(), story.State.Epoch, [Story.Exports[0]]));

        Assert.Equal("UnplannedFailoverInProgress", story.Phase);
        Assert.Equal("1 of 2 disks are not served.", story.State.Problems.Single().Reason);
        Assert.Equal("FailoverCommitPending", story.Served().Phase);
    }

    [Fact]
    public void A_replica_served_at_new_addresses_is_remembered_once()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Committed();
        Assert.Empty(story.Served().Last.Events);

        var moved = Story.Exports.SetItem(0, new DiskExport(0, "nbd://lyon:2/vm1-0"));
        story.When(new ReplicaServed(Story.Vm1, story.NextId(), story.State.Epoch, moved));
        Assert.Equal(moved.AsEnumerable(), story.State.Exports.AsEnumerable());
        Assert.Equal("FailedOver", story.Phase);
    }

    [Fact]
    public void A_point_outside_the_history_is_refused()
    {
        Assert.Equal(RefusalCode.Invalid, new Story().Protected().FailedOverTo(Story.Point with { Epoch = new(2) }).Refusal.Code);
        Assert.Equal(RefusalCode.Invalid, new Story().Protected().FailedOverTo(Story.Point with { Epoch = new(0) }).Refusal.Code);
    }

    [Fact]
    public void A_disk_that_nobody_wrote_to_since_it_was_protected_can_fail_over() =>
        Assert.Equal("UnplannedFailoverInProgress", new Story().Protected().FailedOverTo(Story.Point with { Sequence = Sequence.None }).Phase);

    [Fact]
    public void A_failover_during_a_resynchronization_cancels_that_job()
    {
        var story = new Story().Protected().Diverged().FailedOverTo(Story.Point);

        Assert.Equal(JobStatus.Cancelled, story.JobOf("resynchronize").Status);
        Assert.DoesNotContain("replicate", story.PendingKinds);
    }

    [Fact]
    public void Reports_of_the_old_epoch_change_nothing_after_a_failover()
    {
        var story = new Story().Protected().Diverged();
        var round = story.State.Round;
        story.FailedOverTo(Story.Point);
        MachineCommand[] late =
        [
            new SynchronizationCompleted(Story.Vm1, new("late"), Epoch.First, round, new Sequence(60)),
            new DivergenceReported(Story.Vm1, new("late"), Epoch.First, round, "lost"),
            new EpochOpened(Story.Vm1, new("late"), Epoch.First),
            new ReplicaServed(Story.Vm1, new("late"), Epoch.First, Story.Exports),
            new WorkFailed(Story.Vm1, new("late"), Epoch.First, WorkKind.Replicate, "gone", true),
            new StoreRemoved(Story.Vm1, new("late"), Epoch.First),
        ];
        foreach (var report in late)
        {
            Assert.Empty(story.When(report).Last.Events);
            Assert.IsType<Accepted>(story.Last.Reply);
        }
    }
}
