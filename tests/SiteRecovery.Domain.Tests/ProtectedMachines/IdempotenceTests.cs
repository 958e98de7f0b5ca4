using System.Diagnostics;
using System.Text.Json;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class IdempotenceTests
{
    [Fact]
    public void A_repeated_command_answers_as_the_first_time_even_when_the_state_no_longer_allows_it()
    {
        var story = new Story();
        var enable = Story.EnableWith(story.NextId());
        var first = story.When(enable).Last.Reply;
        story.Synchronized().Paused();

        Assert.Equal(first, story.When(enable).Last.Reply);
        Assert.Empty(story.Last.Events);
        Assert.Equal("Paused", story.Phase);
    }

    [Fact]
    public void An_id_used_for_another_action_is_refused()
    {
        var story = new Story().Protected();
        story.When(new PauseReplication(Story.Vm1, new("same"))).When(new ResumeReplication(Story.Vm1, new("same")));
        Assert.Equal(RefusalCode.CommandIdReused, story.Refusal.Code);
    }

    [Fact]
    public void A_refused_id_is_not_used_up()
    {
        var story = new Story().When(new PauseReplication(Story.Vm1, new("p1"))).Protected();
        Assert.IsType<Accepted>(story.When(new PauseReplication(Story.Vm1, new("p1"))).Last.Reply);
    }

    [Fact]
    public void Remembered_ids_and_jobs_are_bounded_and_the_newest_stay()
    {
        var story = new Story().Protected();
        for (var i = 0; i < 200; i++) story.Paused().Resumed();

        Assert.Equal(ProtectedMachine.CarriedCommandsMax, story.State.Carried.Length);
        Assert.Equal(JobLog.JobsMax, story.State.Jobs.Jobs.Length);
        Assert.Equal("resume", story.LastJob.Action);
    }

    [Fact]
    public void A_job_that_runs_is_kept_however_many_come_after_it()
    {
        var story = new Story().Protected().TestStarted();
        var test = story.LastJob.Id;
        for (var i = 0; i < 200; i++) story.Paused().Resumed();

        Assert.Equal((JobStatus.Running, JobLog.JobsMax), (story.State.Jobs.Find(test)?.Status, story.State.Jobs.Jobs.Length));
        Assert.Equal(JobStatus.Succeeded, story.TestServed().State.Jobs.Find(test)?.Status);
        Assert.Equal("resume", story.LastJob.Action);
        story.Paused();
        Assert.Null(story.State.Jobs.Find(test));
    }

    [Fact]
    public void Every_report_repeated_changes_nothing()
    {
        foreach (var (_, tell) in Story.EveryState)
        {
            var story = tell();
            MachineCommand[] reports =
            [
                new SynchronizationCompleted(Story.Vm1, new("r"), story.State.Epoch, story.State.Round, new Sequence(7)),
                new EpochOpened(Story.Vm1, new("r"), story.State.Epoch),
                new ReplicaServed(Story.Vm1, new("r"), story.State.Epoch, Story.Exports),
                new SourceFenced(Story.Vm1, new("r"), story.State.Epoch),
                new StoreRemoved(Story.Vm1, new("r"), story.State.Epoch),
                new AgentReleased(Story.Vm1, new("r"), story.State.Epoch, Story.Agent),
                new WorkFailed(Story.Vm1, new("r"), story.State.Epoch, WorkKind.ServeReplica, "no", false),
            ];
            foreach (var report in reports)
            {
                var told = tell();
                told.When(report).When(report);
                Assert.Empty(told.Last.Events);
            }
        }
    }

    [Fact]
    public void Replaying_the_events_gives_the_same_state_and_the_same_pending_work()
    {
        foreach (var (_, tell) in Story.EveryState)
        {
            var story = tell();
            var journal = story.Events.Select(e => JsonSerializer.Serialize(e)).ToArray();
            var replayed = journal.Select(j => JsonSerializer.Deserialize<MachineEvent>(j)!)
                .Aggregate(ProtectedMachine.New(Story.Vm1), (state, e) => state.Apply(e));

            Assert.Equal(JsonSerializer.Serialize(story.State), JsonSerializer.Serialize(replayed));
            Assert.Equal(story.Pending.AsEnumerable(), ProtectedMachine.Pending(replayed).AsEnumerable());
        }
    }

    [Fact]
    public void The_state_the_work_and_the_replies_survive_JSON()
    {
        foreach (var (_, tell) in Story.EveryState)
        {
            var story = tell();
            var state = JsonSerializer.Serialize(story.State);
            Assert.Equal(state, JsonSerializer.Serialize(JsonSerializer.Deserialize<ProtectedMachine>(state)));
            Assert.Equal(story.Pending.AsEnumerable(), story.Pending.Select(w => JsonSerializer.Deserialize<Work>(JsonSerializer.Serialize(w))!));
            Assert.NotNull(JsonSerializer.Deserialize<MachineReply>(JsonSerializer.Serialize(story.Last.Reply)));
        }
    }

    [Fact]
    public void Every_event_has_a_name_in_the_journal_and_a_case_in_Apply()
    {
        var named = typeof(MachineEvent).GetCustomAttributes(typeof(System.Text.Json.Serialization.JsonDerivedTypeAttribute), false)
            .Cast<System.Text.Json.Serialization.JsonDerivedTypeAttribute>().Select(a => a.DerivedType).ToHashSet();
        Assert.Equal(typeof(MachineEvent).Assembly.GetTypes().Where(t => t.BaseType == typeof(MachineEvent)).ToHashSet(), named);

        var seen = Story.EveryState.SelectMany(s => s.Tell().Events)
            .Concat(new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().Fenced().Events)
            .Concat(new Story().Protected().Paused().Resumed().Disabled().StoreGone().AgentGone().Events)
            .Concat(new Story().Protected().Turned().Flattened().Disabled().Released().Events)
            .Concat(new Story().Protected().TestStarted().TestServed().TestCleanedUp().TestGone().Events)
            .Concat(new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served().When(new ChangeRecoveryPoint(Story.Vm1, new("p"), Story.Point)).Events)
            .Concat(new Story().Protected().PlannedStarted().Cancelled().Events)
            .Concat(new Story().Protected().PolicyChanged(Story.ManualPolicy).Events)
            .Select(e => e.GetType()).Append(typeof(ReplicaMoved)).ToHashSet();
        Assert.Equal(named, seen);
    }

    [Fact]
    public void An_event_that_cannot_happen_is_loud()
    {
        var state = new Story().Protected().State;
        Assert.Throws<UnreachableException>(() => state.Apply(new FailoverCommitted(Story.T0, new("x"))));
        Assert.Throws<UnreachableException>(() => state.Apply(new ProtectionResumed(Story.T0, new("x"))));
        Assert.Throws<ArgumentException>(() => ProtectedMachine.Decide(state, new PauseReplication(new("vm2"), new("x")), Story.T0));
    }

    [Fact]
    public void A_job_id_leads_back_to_its_machine()
    {
        Assert.True(JobId.TryParse(JobId.Of(new("db.example.org"), new("a-1")).Value, out var machine, out var command));
        Assert.Equal((new MachineId("db.example.org"), new CommandId("a-1")), (machine, command));
        Assert.False(JobId.TryParse("nodot", out _, out _));
        Assert.False(CommandId.IsValid(new string('a', CommandId.LengthMax + 1)));
    }
}
