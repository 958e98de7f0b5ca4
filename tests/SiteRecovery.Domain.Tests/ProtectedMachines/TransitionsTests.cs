using System.Text;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class TransitionsTests
{
    [Fact]
    public void The_whole_matrix_is_as_approved()
    {
        var path = Path.Combine(Repository.Root, "tests", "SiteRecovery.Domain.Tests", "Transitions.approved.md");
        var actual = Matrix();
        if (Environment.GetEnvironmentVariable("APPROVE") == "1") File.WriteAllText(path, actual);
        var approved = File.Exists(path) ? File.ReadAllText(path) : "";
        if (approved == actual) return;

        var (was, now) = (approved.Split('\n'), actual.Split('\n'));
        var diff = was.Except(now).Select(l => "- " + l).Concat(now.Except(was).Select(l => "+ " + l));
        Assert.Fail($"Transitions differ from Transitions.approved.md; if that is meant, run with APPROVE=1 and commit it.\n{string.Join('\n', diff)}");
    }

    public static TheoryData<string> StateNames => [.. Story.EveryState.Select(s => s.Name)];

    [Theory]
    [MemberData(nameof(StateNames))]
    public void Decide_accepts_exactly_what_the_table_allows_and_refuses_with_its_words(string name)
    {
        foreach (var availability in AllowedIn(Story.EveryState.First(s => s.Name == name).Tell().State))
        {
            var story = Story.EveryState.First(s => s.Name == name).Tell();
            var before = story.State;
            story.When(Story.CommandFor(availability.Action, story.NextId()));

            if (availability.Allowed)
            {
                Assert.IsType<Accepted>(story.Last.Reply);
                Assert.NotEmpty(story.Last.Events);
                continue;
            }
            Assert.Empty(story.Last.Events);
            Assert.Same(before, story.State);
            Assert.Equal(before.Phase.Name, story.Refusal.State);
            Assert.Equal((availability.Code, availability.Reason, availability.Remedy), (story.Refusal.Code, story.Refusal.Reason, story.Refusal.Remedy));
            Assert.Equal(Transitions.AllowedNames(before.Phase, before.Circumstances).AsEnumerable(), story.Refusal.AllowedActions.AsEnumerable());
        }
    }

    [Fact]
    public void Every_state_has_its_stable_name()
    {
        string[] expected =
        [
            "Unprotected", "InitialReplication", "Protected", "Paused", "ResynchronizationRequired", "Resynchronizing",
            "PlannedFailoverInProgress", "UnplannedFailoverInProgress", "FailoverCommitPending", "FailedOver", "ReverseReplicating",
        ];
        Assert.Equal(expected.Order(), typeof(Phase).GetNestedTypes().Select(t => t.Name).Order());
        Assert.All(Story.EveryState, s => Assert.StartsWith(s.Tell().State.Phase.Name, s.Name, StringComparison.Ordinal));
    }

    private static IEnumerable<ActionAvailability> AllowedIn(ProtectedMachine machine) => Transitions.Allowed(machine.Phase, machine.Circumstances);

    private static string Matrix()
    {
        var text = new StringBuilder("# State × action\n\nWritten by TransitionsTests with APPROVE=1; read the diff, do not edit.\n\n");
        var actions = MachineActions.All;
        text.Append("| state |");
        foreach (var action in actions) text.Append(' ').Append(action).Append(" |");
        text.Append("\n|---|").Insert(text.Length, "---|", actions.Length).Append('\n');
        var states = Story.EveryState.Select(s => (s.Name, s.Tell().State.Phase, s.Tell().State.Circumstances)).ToArray();
        foreach (var (name, phase, beside) in states)
        {
            text.Append("| ").Append(name).Append(" |");
            foreach (var action in actions) text.Append(Transitions.Of(phase, action, beside).Allowed ? " yes |" : " – |");
            text.Append('\n');
        }
        text.Append("\n## Refusals\n");
        foreach (var (name, phase, beside) in states)
        {
            text.Append("\n### ").Append(name).Append("\n\n");
            foreach (var a in Transitions.Allowed(phase, beside).Where(a => !a.Allowed))
                text.Append("- `").Append(a.Action).Append("`: ").Append(a.Reason).Append(" → ").Append(a.Remedy).Append('\n');
        }
        return text.ToString();
    }
}
