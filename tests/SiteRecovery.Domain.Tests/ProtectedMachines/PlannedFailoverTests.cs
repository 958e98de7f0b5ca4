using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class PlannedFailoverTests
{
    /// <summary>Its host was switched off behind its promise.</summary>
    [Fact]
    public void A_planned_failover_does_not_wait_for_ever_for_a_source_to_confirm_its_end()
    {
        var story = new Story().Protected().PlannedStarted().Drained().Verified().EpochOpened().Served();
        Assert.Equal(JobStatus.Running, story.After(TimeSpan.FromSeconds(20)).LastJob.Status);
        Assert.Equal(JobStatus.SucceededWithWarnings, story.After(TimeSpan.FromSeconds(10)).LastJob.Status);
        Assert.Contains("fence-source", story.PendingKinds);
        Assert.Null(story.State.Deadline);
        Assert.Equal(JobStatus.Succeeded, story.Fenced().LastJob.Status);
        Assert.Empty(story.State.Problems);
    }

    [Fact]
    public void A_source_that_does_not_confirm_its_end_moves_no_deadline_of_the_failover()
    {
        var story = new Story().Protected(ReplicationPolicy.Default with { CommitAfter = TimeSpan.FromMinutes(1) }).PlannedStarted(TimeSpan.FromMinutes(1)).Drained().Verified();
        var deadline = Assert.IsType<Phase.PlannedFailoverInProgress>(story.State.Phase).Deadline;
        Assert.True(story.State.Deadline < deadline);
        Assert.Equal(deadline, story.After(TimeSpan.FromSeconds(35)).State.Deadline);
        story.EpochOpened().Served();
        Assert.Equal("FailoverCommitPending", story.After(TimeSpan.FromSeconds(50)).Phase);
        Assert.Equal("FailedOver", story.After(TimeSpan.FromSeconds(11)).Phase);
    }

    [Fact]
    public void A_planned_failover_drains_verifies_and_only_then_opens_the_next_epoch()
    {
        var story = new Story().Protected().PlannedStarted();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single().Drain);
        Assert.Equal(["hold-store", "replicate"], story.PendingKinds);

        story.Drained();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single().Drain);
        Assert.Equal(Story.Drain, story.Pending.OfType<VerifyTarget>().Single().Source);
        Assert.Equal(Epoch.First, story.State.Epoch);

        story.Matched();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Drain: true, Hold: true });
        Assert.Equal(["hold-store", "replicate"], story.PendingKinds);
        Assert.Equal(Epoch.First, story.State.Epoch);

        story.Held();
        Assert.Equal(new Epoch(2), story.State.Epoch);
        Assert.Equal(["hold-store", "open-epoch", "fence-source"], story.PendingKinds);

        story.EpochOpened().Served().Fenced();
        Assert.Equal("FailoverCommitPending", story.Phase);
        Assert.Equal(JobStatus.Succeeded, story.LastJob.Status);
        Assert.Contains(Story.Drain.RootHash, story.LastJob.Steps.Single(s => s.Name == "verify-target").Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_that_will_not_stop_is_left_running_when_patience_ends()
    {
        var story = new Story().Protected().PlannedStarted(TimeSpan.FromSeconds(30));
        var round = story.State.Round;
        story.When(new DrainWaits(Story.Vm1, story.NextId(), Epoch.First, round, "the machine still has its disks open"));
        Assert.Equal("the machine still has its disks open", story.LastJob.Steps[0].Detail);
        story.After(TimeSpan.FromSeconds(10));
        Assert.Equal("PlannedFailoverInProgress", story.Phase);

        story.After(TimeSpan.FromSeconds(30));

        Assert.Equal("Protected", story.Phase);
        Assert.False(story.Pending.OfType<ReplicateFrom>().Single().Drain);
        // So that the order to drain, should it be late, ends nothing.
        Assert.True(story.State.Round > round);
        Assert.Equal(Epoch.First, story.State.Epoch);
        Assert.Equal(JobStatus.Failed, story.LastJob.Status);
        Assert.Contains("still has its disks open", story.LastJob.Error, StringComparison.Ordinal);
        Assert.Empty(story.State.Problems);
    }

    [Fact]
    public void Stopping_the_machine_is_a_step_before_the_drain_and_is_seen_by_itself()
    {
        var story = new Story().Protected().PlannedStarted();
        Story Waits(string reason, string? stopped) => story.When(new DrainWaits(Story.Vm1, story.NextId(), Epoch.First, story.State.Round, reason, stopped));
        Assert.Equal(["stop-source", "drain-source"], story.LastJob.Steps.Select(s => s.Name).Take(2));

        Waits("the power button was pressed", null);
        Assert.Equal((JobStatus.Running, "the power button was pressed"), StepOf(story, "stop-source"));
        Assert.Equal((JobStatus.Pending, null), StepOf(story, "drain-source"));

        Waits("the last writes are on their way", "shut down through its hypervisor");
        Assert.Equal((JobStatus.Succeeded, "shut down through its hypervisor"), StepOf(story, "stop-source"));
        Assert.Equal((JobStatus.Running, "the last writes are on their way"), StepOf(story, "drain-source"));
        Assert.Equal(["drain-source"], story.State.Problems.Select(p => p.Work));
        Assert.Empty(Waits("the last writes are on their way", "shut down through its hypervisor").Last.Events);

        // Somebody starts it again: it is the drain that waits now.
        Waits("the machine still has its disks open", null);
        Assert.Equal(JobStatus.Succeeded, StepOf(story, "stop-source").Status);
        Assert.Equal((JobStatus.Running, "the machine still has its disks open"), StepOf(story, "drain-source"));
        Assert.Empty(story.Drained().State.Problems);
    }

    [Theory]
    [InlineData("nobody has the machine's disks open")]
    [InlineData(null)] // an agent of before this step
    public void A_drain_that_is_done_before_anybody_looked_shows_the_stop_too(string? stopped)
    {
        var story = new Story().Protected().PlannedStarted();
        story.When(new SourceDrained(Story.Vm1, story.NextId(), Epoch.First, story.State.Round, Story.Drain, stopped));
        Assert.Equal((JobStatus.Succeeded, stopped), StepOf(story, "stop-source"));
        Assert.Equal(JobStatus.Succeeded, StepOf(story, "drain-source").Status);
    }

    [Fact]
    public void A_step_is_pending_until_it_begins()
    {
        var story = new Story().Protected().PlannedStarted();
        Assert.Equal(["stop-source"], Begun(story));
        story.When(new DrainWaits(Story.Vm1, story.NextId(), Epoch.First, story.State.Round, "the last writes are on their way", "shut down"));
        Assert.Equal(["drain-source"], Begun(story));
        Assert.Equal(["verify-target"], Begun(story.Drained()));
        Assert.Equal(["hold-source"], Begun(story.Matched()));
        Assert.Equal(["open-epoch", "fence-source"], Begun(story.Held()));
        Assert.Equal(["serve-replica", "fence-source"], Begun(story.EpochOpened()));
        Assert.Empty(Begun(story.Served().Fenced()));
        Assert.All(story.LastJob.Steps, s => Assert.Equal(JobStatus.Succeeded, s.Status));

        var unplanned = new Story().Protected().FailedOverTo(Story.Point);
        Assert.Equal(["open-epoch"], Begun(unplanned)); // its source is not stopped for nothing
        Assert.Equal(["serve-replica", "fence-source"], Begun(unplanned.EpochOpened()));
        Assert.Equal(["remove-store", "release-agent"], Begun(new Story().Protected().Disabled()));
    }

    private static IEnumerable<string> Begun(Story story) => story.LastJob.Steps.Where(s => s.Status == JobStatus.Running).Select(s => s.Name);

    [Fact]
    public void What_an_operator_cancels_ends_as_cancelled_with_all_that_it_did_not_come_to()
    {
        var story = new Story().Protected().PlannedStarted().Drained().Cancelled();
        var job = story.JobOf("planned-failover");
        Assert.Equal(JobStatus.Cancelled, job.Status);
        Assert.StartsWith("Cancelled by an operator. Nothing has changed.", job.Error, StringComparison.Ordinal);
        Assert.Equal([JobStatus.Succeeded, JobStatus.Succeeded, .. Enumerable.Repeat(JobStatus.Cancelled, 5)], job.Steps.Select(s => s.Status));
        Assert.Equal(JobStatus.Succeeded, story.JobOf("cancel-failover").Status);

        var unplanned = new Story().Protected().FailedOverTo(Story.Point).Cancelled();
        Assert.NotEqual(JobStatus.Failed, unplanned.JobOf("unplanned-failover").Status);
    }

    private static (JobStatus Status, string? Detail) StepOf(Story story, string step) =>
        story.LastJob.Steps.Single(s => s.Name == step) is var found ? (found.Status, found.Detail) : default;

    [Fact]
    public void A_drain_that_was_rolled_back_cannot_be_confirmed_late()
    {
        var story = new Story().Protected().PlannedStarted();
        var late = new SourceDrained(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, Story.Drain);
        story.Cancelled().PlannedStarted();

        story.When(late);

        Assert.Empty(story.Last.Events);
    }

    [Fact]
    public void A_source_that_dies_after_its_drain_is_verified_where_it_stands_then()
    {
        var story = new Story().Protected().PlannedStarted().Drained();
        var again = Story.Drain with { At = new Sequence(1000) };
        story.When(new SourceDrained(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, again));
        Assert.Equal(again, story.Pending.OfType<VerifyTarget>().Single().Source);
        story.When(new SourceDrained(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, again));
        Assert.Empty(story.Last.Events);
    }

    [Fact]
    public void A_source_that_took_up_its_writes_again_before_it_promised_to_stay_is_never_followed_by_an_epoch()
    {
        var story = new Story().Protected().PlannedStarted().Drained().Matched();
        var held = new SourceHeld(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, Story.Drain);

        story.When(new DrainLapsed(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, "The source heard nothing."));

        Assert.Equal("Protected", story.Phase);
        Assert.Equal(JobStatus.Failed, story.JobOf("planned-failover").Status);
        Assert.Contains("heard nothing", story.JobOf("planned-failover").Error, StringComparison.Ordinal);
        story.When(held);
        Assert.Empty(story.Last.Events);
        Assert.Equal(Epoch.First, story.State.Epoch);
    }

    [Fact]
    public void A_source_that_holds_something_else_than_was_compared_is_compared_again()
    {
        var story = new Story().Protected().PlannedStarted().Drained().Matched();
        var again = Story.Drain with { At = new Sequence(1000) };

        story.When(new SourceHeld(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, again));

        Assert.Equal(Epoch.First, story.State.Epoch);
        Assert.Equal(again, story.Pending.OfType<VerifyTarget>().Single().Source);
        story.Matched().When(new SourceHeld(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, again));
        Assert.Equal(new Epoch(2), story.State.Epoch);
    }

    [Fact]
    public void A_promise_of_before_the_rollback_opens_nothing()
    {
        var story = new Story().Protected().PlannedStarted(TimeSpan.FromSeconds(30)).Drained().Matched();
        var held = new SourceHeld(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, Story.Drain);
        story.After(TimeSpan.FromSeconds(31));

        story.When(held);

        Assert.Empty(story.Last.Events);
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Drain: false, Hold: false });
    }

    [Fact]
    public void Different_hashes_roll_back_and_compare_every_block()
    {
        var story = new Story().Protected().PlannedStarted().Drained();
        story.When(new TargetDiffers(Story.Vm1, story.NextId(), story.State.Epoch, Story.Drain.RootHash, "the root hashes differ"));

        Assert.Equal("Resynchronizing", story.Phase);
        var work = story.Pending.OfType<ReplicateFrom>().Single();
        Assert.True(work is { Full: true, Synchronize: true, Drain: false });
        Assert.Equal(story.State.Round, work.Round);
        Assert.Equal(JobStatus.Failed, story.JobOf("planned-failover").Status);
    }

    [Fact]
    public void Different_hashes_compare_every_block_also_where_an_operator_decides_when()
    {
        var story = new Story().Protected(Story.ManualPolicy).PlannedStarted().Drained();
        story.When(new TargetDiffers(Story.Vm1, story.NextId(), story.State.Epoch, Story.Drain.RootHash, "the root hashes differ"));
        Assert.Equal("ResynchronizationRequired", story.Phase);
        Assert.True(story.Resynchronized().Pending.OfType<ReplicateFrom>().Single() is { Full: true, Synchronize: true });
    }

    [Fact]
    public void A_comparison_of_every_block_goes_on_behind_a_pause()
    {
        var story = new Story().Protected().Resynchronized().Paused().Resumed();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Full: true, Synchronize: true });
        Assert.False(story.Synchronized().State.ComparesAll);
    }

    [Fact]
    public void Once_the_target_has_its_epoch_a_failed_step_takes_the_source_back_in_an_epoch_of_its_own()
    {
        var story = new Story().Protected().PlannedStarted().Drained().Verified().EpochOpened().Failed(WorkKind.ServeReplica, permanent: true, "the disk is full");

        Assert.Equal("Resynchronizing", story.Phase);
        Assert.Equal(new Epoch(3), story.State.Epoch);
        Assert.Null(story.State.Fence);
        var back = story.Pending.OfType<ContinueStore>().Single();
        Assert.Equal(new StoreContinuation(After: Epoch.First, Fold: new Epoch(2)), back.Continuation);
        Assert.DoesNotContain("replicate", story.PendingKinds);

        story.StoreContinued();
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Synchronize: true, Epoch.Value: 3, Protection.Value: 1 });
        story.Synchronized();
        Assert.Equal("Protected", story.Phase);
        Assert.Contains("disk is full", story.JobOf("planned-failover").Error, StringComparison.Ordinal);
        Assert.Equal(JobStatus.Succeeded, story.JobOf("cancel-failover").Status);
    }

    [Fact]
    public void A_failover_that_the_policy_commits_is_committed_when_its_time_has_come()
    {
        var story = new Story().Protected(ReplicationPolicy.Default with { CommitAfter = TimeSpan.FromHours(1) }).FailedOverTo(Story.Point).EpochOpened().Served();
        story.After(TimeSpan.FromMinutes(59));
        Assert.Equal("FailoverCommitPending", story.Phase);

        story.After(TimeSpan.FromMinutes(2));

        Assert.Equal("FailedOver", story.Phase);
    }

    [Fact]
    public void What_keeps_the_source_from_being_drained_is_said_at_the_step_and_when_it_is_rolled_back()
    {
        var story = new Story().Protected().PlannedStarted(TimeSpan.FromSeconds(30)).Failed(WorkKind.Replicate, permanent: false, "the disk cannot be opened");

        Assert.Equal("the disk cannot be opened", story.LastJob.Steps[0].Detail);
        story.After(TimeSpan.FromSeconds(60));
        Assert.Contains("the disk cannot be opened", story.LastJob.Error, StringComparison.Ordinal);
    }
}
