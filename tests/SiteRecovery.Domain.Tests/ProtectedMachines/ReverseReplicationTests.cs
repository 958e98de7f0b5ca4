using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class ReverseReplicationTests
{
    private static Story FailedOver() => new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Committed();

    [Fact]
    public void A_cancelled_failover_keeps_what_the_replica_wrote_and_the_source_goes_on_by_delta()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Cancelled();
        Assert.Equal(["continue-store"], story.PendingKinds);
        Assert.Empty(story.State.Exports);

        var kept = Story.Point with { Epoch = new Epoch(2), Sequence = new Sequence(60) };
        story.StoreContinued(kept);

        Assert.Contains(kept.Id, story.JobOf("cancel-failover").Steps[0].Detail, StringComparison.Ordinal);
        var work = story.Pending.OfType<ReplicateFrom>().Single();
        Assert.True(work is { Synchronize: true, Full: false, Epoch.Value: 3 });
        Assert.Equal(Epoch.First, work.Protection);
    }

    [Fact]
    public void A_changed_point_does_not_change_what_the_source_goes_on_from()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().When(new ChangeRecoveryPoint(Story.Vm1, new("change"), Story.Point)).EpochOpened().Served().Cancelled();

        Assert.Equal(new StoreContinuation(After: Epoch.First, Fold: new Epoch(3)), story.Pending.OfType<ContinueStore>().Single().Continuation);
        Assert.Equal(new Epoch(4), story.State.Epoch);
    }

    [Fact]
    public void A_reverse_replication_that_is_repeated_in_full_goes_to_the_master_target_that_is_named_then()
    {
        var story = FailedOver().Fenced().When(new ReverseReplicate(Story.Vm1, new("first"), "mt-a")).TailMarked();
        story.When(new ReverseReplicate(Story.Vm1, new("second"), "mt-b", Full: true));
        Assert.Equal(("mt-b", Story.Source), (story.Pending.OfType<ContinueStore>().Single().TargetNode, story.Pending.OfType<ContinueStore>().Single().TargetSite));
        Assert.Equal("mt-b", story.StoreContinued().Pending.OfType<ReplicateFrom>().Single().TargetNode);

        // Where none is named, and in journals of before, it stays.
        var before = FailedOver().Fenced().When(new ReverseReplicate(Story.Vm1, new("first"), "mt-a")).TailMarked();
        Assert.Equal("mt-a", before.State.Apply(new ReverseReplicationStarted(Story.T0, new("old"), before.State.Round + 1, "mt-b", Full: true)).Protection!.TargetNode);
        Assert.Equal("mt-a", before.Reversed(full: true).State.Protection!.TargetNode);
    }

    /// <summary>Its node may have died right behind the command.</summary>
    [Fact]
    public void A_full_reverse_replication_whose_store_does_not_go_on_can_be_sent_elsewhere()
    {
        var story = FailedOver().Fenced().When(new ReverseReplicate(Story.Vm1, new("first"), "mt-a", Full: true));
        Assert.Equal("reverse-replicate", Assert.Single(Transitions.AllowedNames(story.State.Phase, story.State.Circumstances)));
        var work = story.When(new ReverseReplicate(Story.Vm1, new("second"), "mt-b", Full: true)).Pending.OfType<ContinueStore>().Single();
        Assert.Equal(("mt-b", true), (work.TargetNode, work.Continuation.MayStartEmpty));
        Assert.Equal(JobStatus.Cancelled, story.State.Jobs.Find(JobId.Of(Story.Vm1, new("first")))!.Status);
        Assert.Equal(JobStatus.Succeeded, story.StoreContinued().Synchronized().State.Jobs.Find(JobId.Of(Story.Vm1, new("second")))!.Status);

        // From where it has gone on it goes nowhere else.
        var gone = FailedOver().Fenced().Reversed(full: true).StoreContinued();
        Assert.Equal(RefusalCode.NotAllowedInState, gone.When(new ReverseReplicate(Story.Vm1, new("third"), "mt-b", Full: true)).Refusal.Code);
    }

    [Fact]
    public void A_reverse_replication_whose_store_goes_on_already_goes_nowhere_else()
    {
        var story = FailedOver().Fenced().When(new ReverseReplicate(Story.Vm1, new("first"), "mt-a")).TailMarked().StoreContinued();
        story.When(new ReverseReplicate(Story.Vm1, new("second"), "mt-b", Full: true));
        Assert.Contains("mt-a", story.Refusal.Reason, StringComparison.Ordinal);
        Assert.Equal("mt-a", story.When(new ReverseReplicate(Story.Vm1, new("third"), "mt-a", Full: true)).State.Protection!.TargetNode);
    }

    [Fact]
    public void Reverse_replication_waits_for_the_fence_then_for_the_tail_then_for_the_store()
    {
        var story = FailedOver().Reversed();
        Assert.Equal(("lyon->paris", "lyon"), (ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, story.Now).Direction, story.State.Protection!.SourceSite.Value));
        Assert.Equal(["serve-replica", "flatten-replica", "fence-source"], story.PendingKinds);

        story.Fenced();
        Assert.Equal(["serve-replica", "flatten-replica", "take-back-tail"], story.PendingKinds);

        story.TailMarked();
        var store = story.Pending.OfType<ContinueStore>().Single();
        Assert.Equal((Story.Source, new Sequence(50), new StoreContinuation(Epoch.First, FromDisks: true)), (store.TargetSite, store.Newest, store.Continuation));

        story.StoreContinued();
        Assert.Equal(["serve-replica", "flatten-replica", "hold-store", "replicate"], story.PendingKinds);
        var work = story.Pending.OfType<ReplicateFrom>().Single();
        Assert.True(work is { Synchronize: true, Full: false, Replica: { Layer.Value: 2 } });
        Assert.Equal((Story.Target, Story.Source), (work.SourceSite, work.TargetSite));

        story.Synchronized();
        Assert.Equal("Protected", story.Phase);
        Assert.Equal(JobStatus.Succeeded, story.JobOf("reverse-replicate").Status);
    }

    [Fact]
    public void A_full_reverse_replication_does_not_ask_the_old_source()
    {
        var story = FailedOver().Fenced().Reversed(full: true);
        Assert.DoesNotContain("take-back-tail", story.PendingKinds);
        Assert.True(story.Pending.OfType<ContinueStore>().Single().Continuation.MayStartEmpty);
        story.StoreContinued();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single().Full);
    }

    /// <summary>What nobody has heard of yet is still owed.</summary>
    [Fact]
    public void A_full_reverse_that_a_failover_cuts_short_compares_everything_when_that_is_cancelled()
    {
        var story = FailedOver().Fenced().Reversed(full: true).StoreContinued().FailedOverTo(Story.Point with { Epoch = new Epoch(2) }).EpochOpened().Served().Cancelled().StoreContinued();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Synchronize: true, Full: true });
        Assert.False(story.Synchronized().Diverged().Pending.OfType<ReplicateFrom>().Single().Full);
    }

    [Fact]
    public void A_full_reverse_that_a_failover_cuts_short_leaves_nothing_to_go_on_from_by_delta()
    {
        var story = FailedOver().Fenced().Reversed(full: true).StoreContinued().FailedOverTo(Story.Point with { Epoch = new Epoch(2) }).EpochOpened().Served().Committed().Fenced().Reversed().TailMarked().StoreContinued();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Synchronize: true, Full: true });
        Assert.False(story.Synchronized().Diverged().Pending.OfType<ReplicateFrom>().Single().Full);
    }

    [Fact]
    public void An_old_source_that_has_never_confirmed_its_end_is_still_asked_when_the_machine_comes_home()
    {
        var story = FailedOver().Reversed(full: true).StoreContinued().Synchronized().FailedOverTo(Story.Point with { Epoch = new Epoch(2), Sequence = new Sequence(60) }).EpochOpened().Served();
        Assert.Equal((new Epoch(2), Story.Agent), story.Pending.OfType<FenceSource>().Select(f => (f.Epoch, f.Agent)).Single());
        var replica = story.Pending.OfType<FenceReplica>().Single();

        story.When(new SourceFenced(Story.Vm1, story.NextId(), replica.Epoch));
        Assert.Empty(story.Pending.OfType<FenceReplica>());
        Assert.Single(story.Pending.OfType<FenceSource>());
        Assert.Contains(story.State.Problems, p => p.Work == WorkKind.FenceSource);
        Assert.False(ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, story.Now).SourceFenced);

        story.When(new SourceFenced(Story.Vm1, story.NextId(), new Epoch(2)));
        Assert.Empty(story.Pending.OfType<FenceSource>());
        Assert.Empty(story.State.Problems);
        Assert.True(ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, story.Now).SourceFenced);
    }

    [Fact]
    public void An_old_source_that_never_answers_again_keeps_nobody_from_reversing_in_full_and_its_disks_are_no_base()
    {
        var story = FailedOver().Reversed(full: true);
        Assert.Equal(["serve-replica", "flatten-replica", "continue-store", "fence-source"], story.PendingKinds);
        Assert.True(story.Pending.OfType<ContinueStore>().Single().Continuation is { FromDisks: false, MayStartEmpty: true });
        story.StoreContinued().Synchronized();
        Assert.Equal(("Protected", JobStatus.SucceededWithWarnings), (story.Phase, story.LastJob.Status));
    }

    [Fact]
    public void A_reverse_replication_that_waits_for_its_old_source_goes_on_in_full()
    {
        var story = FailedOver().Fenced().Reversed();
        story.Reversed();
        Assert.Contains("full", story.Refusal.Remedy, StringComparison.Ordinal);
        story.Reversed(full: true);
        Assert.Equal(["serve-replica", "flatten-replica", "continue-store"], story.PendingKinds);
        Assert.True(story.Pending.OfType<ContinueStore>().Single().Continuation is { FromDisks: true, MayStartEmpty: true });
        story.StoreContinued().Synchronized();
        Assert.Equal(("Protected", JobStatus.Succeeded), (story.Phase, story.JobOf("reverse-replicate").Status));
        Assert.True(story.State.Protection is { SourceSite: var at, Loser: null } && at == Story.Target);
    }

    [Fact]
    public void No_failover_takes_the_place_of_a_replica_whose_writes_are_not_kept_yet()
    {
        var story = new Story().Protected().Turned().PlannedStarted().Drained().Verified().EpochOpened().Served().Fenced().Committed().Reversed();
        story.FailedOverTo(Story.Point);
        Assert.Contains("continue-store", story.Refusal.Remedy, StringComparison.Ordinal);
        story.Reversed(full: true).StoreContinued().FailedOverTo(Story.Point with { Epoch = new Epoch(2) });
        Assert.Equal("UnplannedFailoverInProgress", story.Phase);
    }

    [Fact]
    public void A_failover_before_the_store_went_on_is_cancelled_to_the_end_that_the_store_has()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Cancelled();
        story.FailedOverTo(Story.Point).EpochOpened().Served().Cancelled();
        Assert.Equal(new StoreContinuation(After: Epoch.First, Fold: new Epoch(4)), story.Pending.OfType<ContinueStore>().Single().Continuation);
    }

    [Fact]
    public void Failback_is_a_planned_failover_the_other_way_and_the_replica_that_was_left_is_fenced_and_continued()
    {
        var story = new Story().Protected().Turned().PlannedStarted();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Drain: true, Replica: not null });

        story.Drained().Verified();
        Assert.Equal((new Epoch(3), new Epoch(2)), (story.State.Epoch, story.Pending.OfType<FenceReplica>().Single().Layer));
        Assert.DoesNotContain("serve-replica", story.PendingKinds);

        story.EpochOpened().Served().Fenced().Committed();
        Assert.Equal("paris", ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, story.Now).ActiveSite?.Value);

        story.Reversed();
        Assert.Equal(new Epoch(2), story.Pending.OfType<TakeBackTail>().Single().Loser!.Layer);
        story.TailMarked();
        Assert.Equal(new StoreContinuation(After: new Epoch(2), Fold: new Epoch(2)), story.Pending.OfType<ContinueStore>().Single().Continuation);
        story.StoreContinued().Synchronized();
        Assert.Equal("paris->lyon", ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, story.Now).Direction);
        Assert.Equal(new Epoch(3), story.State.Protection!.Replica!.Layer);
    }

    [Fact]
    public void A_cancelled_failback_serves_the_replica_again_in_an_epoch_of_its_own_once_the_other_one_is_stopped()
    {
        var story = new Story().Protected().Turned().PlannedStarted().Drained().Verified().EpochOpened().Served().Cancelled();

        // A target that stands still, or does not hear, has a replica that takes writes until its store goes on.
        Assert.DoesNotContain("serve-replica", story.PendingKinds);
        Assert.Equal(new StoreContinuation(After: new Epoch(2), Fold: new Epoch(3)), story.Pending.OfType<ContinueStore>().Single().Continuation);
        story.StoreContinued();
        var serve = story.Pending.OfType<ServeReplica>().Single();
        Assert.Equal((Story.Target, new Epoch(4), new Epoch(2)), (serve.TargetSite, serve.Epoch, serve.Layer));
    }

    [Fact]
    public void The_replica_at_the_source_may_move_while_the_machine_is_protected_from_there()
    {
        var story = new Story().Protected().Turned();
        story.When(new ReplicaServed(Story.Vm1, story.NextId(), story.State.Epoch, [new(0, "nbd://lyon:2/a"), new(1, "nbd://lyon:2/b")]));

        Assert.Equal("nbd://lyon:2/a", story.State.Exports[0].Uri);
    }

    [Fact]
    public void An_old_source_that_still_has_its_disks_open_is_a_suspected_split_brain()
    {
        var story = FailedOver().Fenced();

        var health = ReplicationHealth.Of(story.State, ReplicationMeasurement.None with { OldSourceClients = 1 }, story.Now);

        Assert.Equal(HealthStatus.Critical, health.Status);
        Assert.Contains(health.Reasons, r => r.Code == "splitBrainSuspected");
    }
}
