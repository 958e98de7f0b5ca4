using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

/// <summary>How soon a replica was back is part of its job, also when it is seen after the job has ended.</summary>
public sealed class RecoveryTimesTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void A_failover_counts_from_its_command_and_is_filled_in_after_its_end()
    {
        // Each step of a story takes a second.
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened();
        Served(story, new ReplicaFirsts(0.2 * Second)).Fenced();
        Assert.Equal(JobStatus.Succeeded, story.LastJob.Status);
        Assert.Equal(new RecoveryTimes(EpochOpened: Second, DisksServed: 1.8 * Second), story.LastJob.Times);
        Assert.Equal(1.8 * Second, story.LastJob.Times!.Recovered);

        Served(story, new ReplicaFirsts(2.2 * Second, Read: 0.5 * Second, MachineStarted: 0.4 * Second));
        Served(story, new ReplicaFirsts(3.2 * Second, Read: 1.5 * Second, MachineStarted: 1.4 * Second, Write: 0.1 * Second));

        Assert.Equal(new RecoveryTimes(Second, 1.8 * Second, 3.6 * Second, 3.5 * Second, 4.9 * Second), story.LastJob.Times);
        Assert.Equal(4.9 * Second, story.LastJob.Times!.Recovered);
    }

    [Fact]
    public void What_was_seen_first_stays_and_a_repeat_writes_no_event()
    {
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened();
        Served(story, new ReplicaFirsts(0.2 * Second, Read: 0.1 * Second));
        var times = story.LastJob.Times;

        // A master target that starts anew serves and is read anew, and does not know when its machine was started.
        Served(story, new ReplicaFirsts(0.1 * Second, Read: TimeSpan.Zero));

        Assert.Empty(story.Last.Events);
        Assert.Equal(times, story.LastJob.Times);
    }

    [Fact]
    public void A_planned_failover_home_leaves_the_times_of_the_replica_that_it_moves_to_the_job_that_brought_it_up()
    {
        var story = new Story().Protected().Turned().PlannedStarted();
        var move = story.LastJob.Id;
        Served(story, new ReplicaFirsts(2 * Second, Read: Second));
        Assert.Null(story.State.Jobs.Find(move)!.Times);
        Assert.NotNull(story.JobOf(MachineActions.UnplannedFailover).Times!.FirstRead);

        story.Drained().Verified().EpochOpened();
        Served(story, new ReplicaFirsts(TimeSpan.Zero, Read: TimeSpan.Zero));

        Assert.Equal(new RecoveryTimes(EpochOpened: 5 * Second, DisksServed: 6 * Second, FirstRead: 6 * Second), story.State.Jobs.Find(move)!.Times);
    }

    [Fact]
    public void Nobody_s_times_are_those_of_a_source_that_runs_on_after_a_cancel()
    {
        var story = new Story().Protected().Turned().PlannedStarted().Drained().Verified().EpochOpened().Served().Cancelled();
        var before = story.State.Jobs.Jobs.Select(j => j.Times).ToArray();

        Served(story, new ReplicaFirsts(Second, Second, Second, Second));

        Assert.Equal(before, story.State.Jobs.Jobs.Select(j => j.Times));
    }

    [Fact]
    public void A_test_has_its_own()
    {
        var story = new Story().Protected().TestStarted().TestStarted();
        var (first, second) = (story.State.Tests[0].Id, story.State.Tests[1].Id);

        story.When(new TestServed(Story.Vm1, story.NextId(), first, Story.Exports, Firsts: new ReplicaFirsts(Second, Read: 0.5 * Second, Write: 100 * Second)));

        Assert.Null(story.State.Jobs.Find(JobId.Of(Story.Vm1, new(second)))!.Times);
        // What is older than the command is not its doing.
        Assert.Equal(new RecoveryTimes(DisksServed: Second, FirstRead: 1.5 * Second), story.State.Jobs.Find(JobId.Of(Story.Vm1, new(first)))!.Times);
    }

    private static Story Served(Story story, ReplicaFirsts firsts) => story.When(new ReplicaServed(Story.Vm1, story.NextId(), story.State.Epoch, Story.Exports, Firsts: firsts));
}
