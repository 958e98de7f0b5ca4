using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class FlatteningTests
{
    private static Story FailedOver() => new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Fenced().Committed();

    [Fact]
    public void A_commit_starts_it_as_a_job_of_its_own_that_other_work_leaves_alone()
    {
        var story = FailedOver();
        Assert.Equal((JobStatus.Succeeded, JobStatus.Running), (story.JobOf("commit").Status, story.JobOf("flatten").Status));
        Assert.Equal(new FlattenReplica(Story.Vm1, story.State.Epoch, new Epoch(2), Story.Target), story.Pending.OfType<FlattenReplica>().Single());

        story.Reversed().TailMarked().StoreContinued();
        Assert.Equal(JobStatus.Running, story.JobOf("flatten").Status);
        Assert.Equal((Story.Target, new Epoch(2)), (story.Pending.OfType<FlattenReplica>().Single().TargetSite, story.Pending.OfType<FlattenReplica>().Single().Layer));

        story.Flattened();
        Assert.Equal(JobStatus.Succeeded, story.JobOf("flatten").Status);
        Assert.DoesNotContain(story.Pending, w => w is FlattenReplica);
        story.Synchronized();
        Assert.DoesNotContain(story.Pending, w => w is FlattenReplica);
    }

    [Fact]
    public void What_keeps_it_from_going_on_is_shown_until_it_is_done()
    {
        var story = FailedOver().Failed(WorkKind.FlattenReplica, permanent: false, "no room");
        Assert.Contains(story.State.Problems, p => p.Reason == "no room");
        story.Flattened();
        Assert.DoesNotContain(story.State.Problems, p => p.Work == WorkKind.FlattenReplica);
    }

    [Fact]
    public void The_next_commit_ends_what_was_under_way_for_the_replica_that_was_left()
    {
        var story = new Story().Protected().Turned();
        var first = story.JobOf("flatten").Id;
        story.FailedOverTo(Story.Point with { Epoch = story.State.Epoch }).EpochOpened().Served().Fenced().Committed();
        Assert.Equal(JobStatus.Cancelled, story.State.Jobs.Find(first)!.Status);
        Assert.Equal(story.State.Epoch, story.Pending.OfType<FlattenReplica>().Single().Layer);
        // A late word of the layer that was left says nothing of this one.
        story.When(new SiteRecovery.Domain.ProtectedMachines.ReplicaFlattened(Story.Vm1, story.NextId(), story.State.Epoch, new Epoch(2)));
        Assert.Empty(story.Last.Events);
    }

    [Fact]
    public void Protection_ends_only_with_flat_disks_and_the_replica_is_served_until_it_is_released()
    {
        var story = new Story().Protected().Turned();
        Assert.Equal(RefusalCode.NotAllowedInState, story.Disabled().Refusal.Code);
        story.Flattened().Disabled();
        Assert.Equal(["release-replica", "serve-replica", "release-agent"], story.PendingKinds);
        Assert.NotEmpty(story.State.Exports);

        story.Failed(WorkKind.ServeReplica, permanent: false, "the machine does not run any more").Released();
        Assert.Empty(story.State.Problems);
        Assert.Equal(["remove-store", "release-agent"], story.PendingKinds);
        Assert.Equal(Story.Source, story.Pending.OfType<RemoveStore>().Single().TargetSite);
        Assert.Empty(story.State.Exports);
        story.StoreGone().AgentGone();
        Assert.Contains("/released/vm1", story.JobOf("disable").Steps[0].Detail, StringComparison.Ordinal);
        Assert.Equal(JobStatus.Succeeded, story.JobOf("disable").Status);
        story.Enabled();
        Assert.Equal(("InitialReplication", true), (story.Phase, story.State.Protection!.Replica is null));
    }

    /// <summary>Its disks are raw files of nobody then, but all of it is kept: who is to flatten what cannot be served?</summary>
    [Fact]
    public void Protection_ends_at_a_replica_that_cannot_be_served_any_more_and_says_what_is_kept()
    {
        var story = FailedOver().Failed(WorkKind.ServeReplica, permanent: false, "the disk is away");
        Assert.Equal(RefusalCode.NotAllowedInState, story.Disabled().Refusal.Code);
        story.Failed(WorkKind.ServeReplica, permanent: true, "the map is damaged").Disabled();
        Assert.Equal(["release-replica", "serve-replica", "release-agent"], story.PendingKinds);
        story.When(new SiteRecovery.Domain.ProtectedMachines.ReplicaReleased(Story.Vm1, story.NextId(), story.State.Epoch, new Epoch(2), "All that was left of it is in /released/vm1"));
        Assert.Equal("All that was left of it is in /released/vm1", story.JobOf("disable").Steps[0].Detail);
        story.StoreGone().AgentGone();
        Assert.Equal(("Unprotected", JobStatus.Succeeded), (story.Phase, story.JobOf("disable").Status));
    }

    [Fact]
    public void A_machine_that_stays_where_it_was_failed_over_to_is_released_there()
    {
        var story = FailedOver().Flattened().Disabled();
        Assert.Equal((Story.Target, new Epoch(2)), (story.Pending.OfType<ReleaseReplica>().Single().TargetSite, story.Pending.OfType<ReleaseReplica>().Single().Layer));
        story.Released().StoreGone().AgentGone();
        Assert.Equal(("Unprotected", JobStatus.Succeeded), (story.Phase, story.JobOf("disable").Status));
    }
}
