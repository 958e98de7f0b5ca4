using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class TestFailoverTests
{
    [Fact]
    public void A_test_runs_beside_replication_and_counts_only_after_its_cleanup()
    {
        var story = new Story().Protected().TestStarted();
        Assert.Equal("Protected", story.Phase);
        Assert.Contains(story.Pending, w => w is ServeTest { Epoch.Value: 1 });
        Assert.Contains(story.Pending, w => w is ReplicateFrom { Paused: false });

        story.TestServed();
        Assert.Equal(JobStatus.Succeeded, story.JobOf(MachineActions.TestFailover).Status);
        Assert.StartsWith($"point {story.State.Tests[0].Point.Id}", story.JobOf(MachineActions.TestFailover).Steps.Single().Detail, StringComparison.Ordinal);
        Assert.Empty(story.State.Drills);

        story.TestCleanedUp("came up, logged in");
        Assert.Contains(story.Pending, w => w is RemoveTest);
        Assert.Equal(JobStatus.Running, story.JobOf(MachineActions.TestFailoverCleanup).Status);
        story.TestGone();
        Assert.Equal(JobStatus.Succeeded, story.JobOf(MachineActions.TestFailoverCleanup).Status);
        Assert.Equal("came up, logged in", Assert.Single(story.State.Drills).Notes);
        Assert.DoesNotContain(story.Pending, w => w is ServeTest or RemoveTest);
        Assert.Empty(story.State.Tests);
    }

    [Fact]
    public void A_failover_in_the_middle_of_a_test_does_not_touch_the_test()
    {
        var story = new Story().Protected().TestStarted();
        var work = story.Pending.OfType<ServeTest>().Single();
        story.FailedOverTo(Story.Point).EpochOpened().Served();
        Assert.Equal(work, story.Pending.OfType<ServeTest>().Single());
        Assert.Equal(JobStatus.Running, story.JobOf(MachineActions.TestFailover).Status);
    }

    [Fact]
    public void A_test_that_was_never_served_is_cleaned_up_without_counting_as_a_drill()
    {
        var story = new Story().Protected().TestStarted().TestCleanedUp();
        Assert.Equal(JobStatus.Cancelled, story.JobOf(MachineActions.TestFailover).Status);
        Assert.Empty(story.TestGone().State.Drills);
    }

    [Fact]
    public void Several_tests_run_at_once_up_to_a_limit_and_one_can_be_cleaned_up_alone()
    {
        var story = new Story().Protected();
        for (var i = 0; i < ProtectedMachine.TestsMax; i++) story.TestStarted();
        Assert.Equal(RefusalCode.Invalid, story.TestStarted().Refusal.Code);
        story.When(new TestFailoverCleanup(Story.Vm1, story.NextId(), story.State.Tests[1].Id));
        Assert.Equal(3, story.State.RunningTests.Count());
        Assert.Equal(RefusalCode.Invalid, story.When(new TestFailoverCleanup(Story.Vm1, story.NextId(), "none")).Refusal.Code);
    }

    [Fact]
    public void A_test_that_fails_for_good_fails_its_own_job_alone()
    {
        var story = new Story().Protected().TestStarted().TestStarted();
        var (first, second) = (story.State.Tests[0].Id, story.State.Tests[1].Id);
        JobStatus Of(string test) => story.State.Jobs.Find(JobId.Of(Story.Vm1, new(test)))!.Status;
        Story Failed(string test, string reason = "the point is damaged", bool permanent = true) => story.When(new WorkFailed(Story.Vm1, new(test), Story.Point.Epoch, WorkKind.ServeTest, reason, permanent));

        Assert.Equal((JobStatus.Failed, JobStatus.Running), (Of(Failed(first).State.Tests[0].Id), Of(second)));
        Failed(second, permanent: false);
        Assert.Equal("the point is damaged", story.State.Jobs.Find(JobId.Of(Story.Vm1, new(second)))!.Steps[0].Detail);
        Assert.Equal(JobStatus.Failed, Of(Failed(second).State.Tests[1].Id));
        // Both are told again every few seconds.
        foreach (var test in (string[])[first, second, first, second]) Assert.Empty(Failed(test).Last.Events);
        // What the one is served with, the other still lacks.
        story.TestServed();
        Assert.NotEmpty(Failed(first).Last.Events);
        Assert.Empty(Failed(first).Last.Events);
        // And what has been served may fail later.
        Assert.Empty(Failed(second, "its disk is away").Last.Events);
        Assert.Empty(Failed(second, "its disk is full", permanent: false).Last.Events);
    }

    /// <summary>A node of before does not say which.</summary>
    [Fact]
    public void Of_a_test_that_is_not_named_every_job_fails()
    {
        var story = new Story().Protected().TestStarted().TestStarted();
        story.When(new WorkFailed(Story.Vm1, new("serve-test:1"), Story.Point.Epoch, WorkKind.ServeTest, "damaged", true));
        Assert.All(story.State.Jobs.Jobs.Where(j => j.Action == MachineActions.TestFailover), j => Assert.Equal(JobStatus.Failed, j.Status));
    }

    [Fact]
    public void A_test_that_was_forgotten_is_reported()
    {
        var machine = new Story().Protected().TestStarted().TestServed().State;
        var measured = new ReplicationMeasurement(Story.T0, Story.T0.AddDays(15), true);
        Assert.Contains(ReplicationHealth.Of(machine, measured, Story.T0.AddDays(15)).Reasons, r => r.Code == "testForgotten");
        Assert.DoesNotContain(ReplicationHealth.Of(machine, measured, Story.T0.AddDays(13)).Reasons, r => r.Code == "testForgotten");
    }

    [Fact]
    public void The_recovery_point_can_be_changed_until_the_commit_in_an_epoch_of_its_own()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served();
        var earlier = Story.Point with { Sequence = new Sequence(30) };
        story.When(new ChangeRecoveryPoint(Story.Vm1, story.NextId(), earlier));
        Assert.Equal("UnplannedFailoverInProgress", story.Phase);
        Assert.Contains(story.Pending, w => w is OpenEpoch { Epoch.Value: 3 } o && o.Point == earlier);
        Assert.Contains(story.Pending, w => w is FenceSource);

        story.EpochOpened().Served();
        Assert.Equal(new Phase.FailoverCommitPending(earlier), story.State.Phase);
        Assert.Equal(JobStatus.Succeeded, story.JobOf(MachineActions.ChangeRecoveryPoint).Status);
        Assert.Equal(RefusalCode.NotAllowedInState, story.Committed().When(new ChangeRecoveryPoint(Story.Vm1, story.NextId(), Story.Point)).Refusal.Code);
    }
}
