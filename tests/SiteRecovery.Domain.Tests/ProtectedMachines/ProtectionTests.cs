using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class ProtectionTests
{
    [Fact]
    public void Enabling_asks_for_a_store_and_a_synchronizing_source_and_its_job_runs_until_that_is_complete()
    {
        var story = new Story().Enabled();

        Assert.Equal("InitialReplication", story.Phase);
        Assert.Equal(Epoch.First, story.State.Epoch);
        Assert.Equal(["hold-store", "replicate"], story.PendingKinds);
        Assert.True(Assert.IsType<ReplicateFrom>(story.Pending[1]) is { Synchronize: true, Paused: false, Round: 1 });
        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        Assert.Equal("vm1.c1", story.LastJob.Id.Value);
        Assert.Equal(new Accepted(Story.Vm1, new("c1"), new JobId("vm1.c1")), story.Last.Reply);

        story.Synchronized();
        Assert.Equal("Protected", story.Phase);
        Assert.False(Assert.IsType<ReplicateFrom>(story.Pending[1]).Synchronize);
        Assert.Equal((JobStatus.Succeeded, story.Now), (story.LastJob.Status, story.LastJob.FinishedAt));
    }

    [Fact]
    public void A_late_report_of_an_earlier_round_cannot_end_a_later_synchronization()
    {
        var story = new Story().Protected();
        var round = story.State.Round;
        story.Diverged().When(new SynchronizationCompleted(Story.Vm1, story.NextId(), story.State.Epoch, round, new Sequence(50)));

        Assert.Empty(story.Last.Events);
        Assert.Equal("Resynchronizing", story.Phase);
    }

    [Fact]
    public void A_divergence_resynchronizes_at_once_where_the_policy_says_automatic()
    {
        var story = new Story().Protected().Diverged();

        Assert.Equal("Resynchronizing", story.Phase);
        Assert.Equal(("resynchronize", JobStatus.Running), (story.LastJob.Action, story.LastJob.Status));
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Synchronize: true, Round: 2 });
        story.Synchronized();
        Assert.Equal("Protected", story.Phase);
        Assert.Equal(JobStatus.Succeeded, story.LastJob.Status);
    }

    [Fact]
    public void A_divergence_waits_for_an_operator_where_the_policy_says_manual_and_sends_nothing_meanwhile()
    {
        var story = new Story().Protected(Story.ManualPolicy).Diverged();

        Assert.Equal(new Phase.ResynchronizationRequired("the bitmap was lost"), story.State.Phase);
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single() is { Paused: true, Synchronize: false });
        Assert.Equal("Resynchronizing", story.Resynchronized().Phase);
        Assert.Equal("Protected", story.Synchronized().Phase);
    }

    [Fact]
    public void The_same_divergence_reported_twice_counts_once()
    {
        var story = new Story().Protected();
        var report = new DivergenceReported(Story.Vm1, story.NextId(), story.State.Epoch, story.State.Round, "lost");
        story.When(report).When(report);

        Assert.Empty(story.Last.Events);
        Assert.Equal(2, story.State.Round);
    }

    [Fact]
    public void Pause_and_resume_return_to_what_was_interrupted()
    {
        Assert.Equal("InitialReplication", new Story().Enabled().Paused().Resumed().Phase);
        Assert.Equal("Protected", new Story().Protected().Paused().Resumed().Phase);
        Assert.Equal("Resynchronizing", new Story().Protected().Diverged().Paused().Resumed().Phase);
        Assert.Equal("Resynchronizing", new Story().Protected().Paused().Diverged().Resumed().Phase);
        Assert.Equal("Protected", new Story().Enabled().Paused().Synchronized().Resumed().Phase);
    }

    [Fact]
    public void A_paused_machine_keeps_its_store_and_its_source_tracking()
    {
        var story = new Story().Protected().Paused();

        Assert.Equal(["hold-store", "replicate"], story.PendingKinds);
        Assert.True(story.Pending.OfType<ReplicateFrom>().Single().Paused);
        Assert.Equal(("pause", JobStatus.Succeeded), (story.LastJob.Action, story.LastJob.Status));
    }

    [Fact]
    public void Disabling_succeeds_when_the_store_is_gone_and_the_agent_released()
    {
        var story = new Story().Protected().Disabled();
        Assert.Equal(["remove-store", "release-agent"], story.PendingKinds);

        story.StoreGone();
        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        story.AgentGone();
        Assert.Equal(JobStatus.Succeeded, story.LastJob.Status);
        Assert.Empty(story.Pending);
        Assert.Null(story.State.Protection);
    }

    [Fact]
    public void Disabling_does_not_fail_for_an_agent_out_of_reach_but_says_so_and_releases_it_later()
    {
        var story = new Story().Protected().Disabled().Failed(WorkKind.ReleaseAgent, permanent: false).StoreGone();

        Assert.Equal(JobStatus.SucceededWithWarnings, story.LastJob.Status);
        Assert.Equal(["release-agent"], story.PendingKinds);
        Assert.Equal("no route", story.LastJob.Steps.Single(s => s.Name == "release-agent").Detail);
        Assert.Equal(JobStatus.Succeeded, story.AgentGone().LastJob.Status);
        Assert.Empty(story.Pending);
    }

    /// <summary>Nobody says anything of a host that was scrapped: what ends the job is time.</summary>
    [Fact]
    public void Disabling_ends_with_a_warning_that_names_the_way_out_where_nothing_is_heard_of_the_agent()
    {
        var story = new Story().Protected().Disabled().StoreGone().After(TimeSpan.FromSeconds(20));
        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        story.After(TimeSpan.FromSeconds(20));
        Assert.Equal(JobStatus.SucceededWithWarnings, story.LastJob.Status);
        var said = story.LastJob.Steps.Single(s => s.Name == "release-agent").Detail;
        Assert.Contains($"'{Story.Agent}'", said, StringComparison.Ordinal);
        Assert.Contains("join an agent of the same name", said, StringComparison.Ordinal);
        Assert.Null(story.State.Deadline);
        Assert.Equal(["release-agent"], story.PendingKinds);
        Assert.Equal(JobStatus.Succeeded, story.AgentGone().LastJob.Status);
        Assert.Empty(story.State.Problems);
    }

    [Fact]
    public void Disabling_whose_store_takes_longer_than_its_agent_may_waits_for_it()
    {
        var story = new Story().Protected().Disabled().After(TimeSpan.FromSeconds(40));
        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        Assert.Empty(story.After(TimeSpan.FromSeconds(40)).Last.Events);
        Assert.Equal(JobStatus.SucceededWithWarnings, story.StoreGone().LastJob.Status);
    }

    /// <summary>A process server that comes to hear of it late must not take a protection's own for that.</summary>
    [Fact]
    public void What_has_ended_is_all_before_the_protection_that_lasts()
    {
        Assert.Equal(new Epoch(0), new Story().State.EndedUpTo);
        var story = new Story().Protected();
        Assert.Equal(new Epoch(0), story.State.EndedUpTo);
        Assert.Equal(Epoch.First, story.Disabled().State.EndedUpTo);
        Assert.Equal(Epoch.First, story.StoreGone().AgentGone().State.EndedUpTo);
        Assert.Equal((new Epoch(2), Epoch.First), (story.Enabled().State.Epoch, story.State.EndedUpTo));
    }

    [Fact]
    public void Disabling_during_the_initial_replication_cancels_its_job() =>
        Assert.Equal(JobStatus.Cancelled, new Story().Enabled().Disabled().JobOf("enable").Status);

    [Fact]
    public void Protecting_again_opens_a_later_epoch_and_calls_back_the_release_of_the_same_agent()
    {
        var story = new Story().Protected().Disabled().StoreGone().Enabled();

        Assert.Equal("InitialReplication", story.Phase);
        Assert.Equal(new Epoch(2), story.State.Epoch);
        Assert.Equal(["hold-store", "replicate"], story.PendingKinds);
        Assert.Empty(story.When(new AgentReleased(Story.Vm1, story.NextId(), Epoch.First, Story.Agent)).Last.Events);
    }

    [Fact]
    public void A_malformed_protection_is_refused_with_a_remedy()
    {
        var good = Story.EnableWith(new("c1"));
        EnableProtection[] bad =
        [
            good with { Disks = [] },
            good with { Disks = default },
            good with { Disks = [Story.Disks[1]] },
            good with { Disks = [Story.Disks[0] with { SizeBytes = 1000 }] },
            good with { Disks = [Story.Disks[0] with { Path = "" }] },
            good with { TargetSite = Story.Source },
            good with { Agent = new("") },
            good with { Id = new("a.b") },
            good with { Policy = good.Policy with { Compression = "zip" } },
        ];
        foreach (var command in bad)
        {
            var refusal = new Story().When(command).Refusal;
            Assert.Equal(RefusalCode.Invalid, refusal.Code);
            Assert.NotEmpty(refusal.Remedy);
        }
    }

    [Fact]
    public void A_permanent_failure_of_the_initial_replication_fails_its_job_and_is_shown()
    {
        var story = new Story().Enabled().Failed(WorkKind.Replicate, permanent: true, "disk 0 does not exist");

        Assert.Equal((JobStatus.Failed, "initial-replication: disk 0 does not exist"), (story.LastJob.Status, story.LastJob.Error));
        Assert.Equal("disk 0 does not exist", story.State.Problems.Single().Reason);
        Assert.Empty(story.Synchronized().State.Problems);
    }

    [Fact]
    public void The_same_failure_again_writes_nothing_more()
    {
        var story = new Story().Enabled().Failed(WorkKind.Replicate, permanent: false).Failed(WorkKind.Replicate, permanent: false);

        Assert.Empty(story.Last.Events);
        Assert.Equal(JobStatus.Running, story.LastJob.Status);
        Assert.Empty(new Story().Protected().Failed(WorkKind.Replicate, permanent: false).Last.Events);
        Assert.Empty(new Story().Protected().Failed(WorkKind.OpenEpoch, permanent: true).Last.Events);
    }

    /// <summary>Its source may have been away until then.</summary>
    [Fact]
    public void A_repair_that_is_paused_sends_what_was_lost_when_it_goes_on()
    {
        StaleRange[] lost = [new(0, 65536, 4096)];
        var story = new Story().Protected();
        story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [.. lost]));
        var work = story.Pending.OfType<ReplicateFrom>().Single();
        Assert.Equal(work, story.Paused().Resumed().Pending.OfType<ReplicateFrom>().Single());
        Assert.Equal(lost, work.Stale.AsEnumerable());
        // What is complete is not sent again by a later one.
        Assert.Empty(story.Synchronized().Resynchronized().Paused().Resumed().Pending.OfType<ReplicateFrom>().Single().Stale);
    }

    [Fact]
    public void What_the_targets_disk_has_lost_is_sent_again_just_that_and_not_over_and_over()
    {
        ImmutableArray<StaleRange> lost = [new(1, 65536, 65536)];
        var story = new Story().Protected();
        story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, lost));
        Assert.Equal("Resynchronizing", story.Phase);
        var work = story.Pending.OfType<ReplicateFrom>().Single();
        Assert.True(work is { Synchronize: true, Full: false });
        Assert.Equal(lost.AsEnumerable(), work.Stale.AsEnumerable());
        Assert.Contains("65536 bytes", story.LastJob.Steps[0].Detail, StringComparison.Ordinal);
        story.Synchronized();
        Assert.Equal(("Protected", JobStatus.Succeeded), (story.Phase, story.LastJob.Status));
        Assert.Empty(story.Pending.OfType<ReplicateFrom>().Single().Stale);

        Assert.Empty(story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, lost)).Last.Events);
        story.After(TimeSpan.FromMinutes(11));
        Assert.NotEmpty(story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, lost)).Last.Events);
    }

    [Fact]
    public void What_is_lost_elsewhere_a_minute_later_does_not_wait()
    {
        StaleRange first = new(1, 65536, 131072), part = new(1, 131072, 65536), other = new(0, 65536, 65536);
        var story = new Story().Protected();
        story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [first])).Synchronized();
        story.After(TimeSpan.FromMinutes(1));
        story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [other, part]));
        Assert.Equal([other], story.Pending.OfType<ReplicateFrom>().Single().Stale.AsEnumerable());
        story.Synchronized();
        Assert.Empty(story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [first, other])).Last.Events);
        story.After(TimeSpan.FromMinutes(9.5));
        story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [first, other]));
        Assert.Equal([first], story.Pending.OfType<ReplicateFrom>().Single().Stale.AsEnumerable());
        Assert.Equal(2, story.State.Repairs.Length);
    }

    [Fact]
    public void A_refusal_names_the_disk_and_says_times_as_people_do()
    {
        var odd = Story.EnableWith(new("odd")) with { Disks = [Story.Disks[0], Story.Disks[1] with { SizeBytes = 40000001 }] };
        Assert.Equal("Disk 'data' (/disks/data) has 40000001 bytes.", new Story().When(odd).Refusal.Reason);
        Assert.Equal("A patience of 1000d00h is out of range.", new Story().Protected().PlannedStarted(TimeSpan.FromDays(1000)).Refusal.Reason);
    }

    [Fact]
    public void Where_the_operator_resynchronizes_nothing_is_mended_by_itself()
    {
        var story = new Story().Protected(Story.ManualPolicy);
        Assert.Empty(story.When(new StoreDamaged(Story.Vm1, story.NextId(), story.State.Epoch, [new(0, 0, 65536)])).Last.Events);
    }
}
