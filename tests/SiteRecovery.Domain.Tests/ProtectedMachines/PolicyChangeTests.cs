using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class PolicyChangeTests
{
    private static readonly ReplicationPolicy Longer = ReplicationPolicy.Default with
    {
        RetentionWindow = TimeSpan.FromDays(9), CrashConsistentEvery = TimeSpan.FromSeconds(9), ResynchronizationWindow = ResynchronizationWindow.Manual, RetentionEncrypted = true, StopFencedMachine = true,
    };

    [Fact]
    public void A_changed_policy_is_what_the_machine_is_replicated_and_kept_by()
    {
        var story = Change(new Story().Protected());
        Assert.Equal([Longer, Longer], [story.Pending.OfType<HoldStore>().Single().Policy, story.Pending.OfType<ReplicateFrom>().Single().Policy]);
        Assert.Empty(Change(story).Last.Events);
        Assert.Empty(story.When(new ChangePolicy(Story.Vm1, story.NextId(), "silver", ReplicationPolicy.Default)).Last.Events);
    }

    [Fact]
    public void What_runs_goes_on_whatever_becomes_of_its_policy()
    {
        foreach (var (_, tell) in Story.EveryState)
        {
            var story = tell();
            var (phase, jobs, served) = (story.Phase, story.State.Jobs, story.Pending.Where(w => w is ServeReplica or ServeTest).ToArray());
            Change(story);
            Assert.Equal((phase, jobs), (story.Phase, story.State.Jobs));
            Assert.All(served, before => Assert.Contains(before, story.Pending));
        }
    }

    [Theory]
    [InlineData("Unprotected")]
    [InlineData("UnplannedFailoverInProgress")]
    [InlineData("PlannedFailoverInProgress")]
    public void Nothing_changes_while_a_machine_is_being_moved_or_is_protected_no_more(string phase)
    {
        var stories = Story.EveryState.Where(s => s.Name.StartsWith(phase, StringComparison.Ordinal)).Select(s => s.Tell()).ToArray();
        Assert.NotEmpty(stories);
        Assert.All(stories, story => Assert.Empty(Change(story).Last.Events));
    }

    [Theory]
    [InlineData(null, 2, 120)] // counted from the change
    [InlineData(1, 2, 61)]
    [InlineData(2, 1, 1)]
    [InlineData(1, null, null)]
    public void A_failover_that_waits_for_its_commit_waits_for_as_long_as_the_policy_says_now(int? before, int? after, int? minutesLeft)
    {
        var story = new Story().Protected(CommitAfter(before)).FailedOverTo(Story.Point).EpochOpened().Served().After(TimeSpan.FromMinutes(59)).PolicyChanged(CommitAfter(after));
        story.After(TimeSpan.FromMinutes(minutesLeft - 1 ?? 100_000));
        Assert.Equal("FailoverCommitPending", story.Phase);
        if (minutesLeft is not null) Assert.Equal("FailedOver", story.After(TimeSpan.FromMinutes(2)).Phase);

        static ReplicationPolicy CommitAfter(int? hours) => ReplicationPolicy.Default with { CommitAfter = hours is { } h ? TimeSpan.FromHours(h) : null };
    }

    [Fact]
    public void A_machine_that_waits_for_its_resynchronization_has_it_once_the_policy_lets_it()
    {
        var story = new Story().Protected(ReplicationPolicy.Default with { ResynchronizationWindow = ResynchronizationWindow.Manual }).Diverged();
        Assert.Equal("ResynchronizationRequired", story.Phase);
        Assert.Equal("Resynchronizing", story.PolicyChanged(ReplicationPolicy.Default with { ResynchronizationWindow = ResynchronizationWindow.Automatic }).Phase);
    }

    private static Story Change(Story story) => story.PolicyChanged(Longer);
}
