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

    private static Story Change(Story story) => story.PolicyChanged(Longer);
}
