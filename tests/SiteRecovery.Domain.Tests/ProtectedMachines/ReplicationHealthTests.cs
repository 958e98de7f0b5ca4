using System.Text.Json;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Tests.ProtectedMachines;

public sealed class ReplicationHealthTests
{
    private static readonly DateTimeOffset Now = Story.T0.AddHours(1);

    private static ReplicationHealth Health(Story story, double pointAgeSeconds, double measuredSecondsAgo = 1, bool? connected = true) =>
        ReplicationHealth.Of(story.State, new(Now.AddSeconds(-pointAgeSeconds), Now.AddSeconds(-measuredSecondsAgo), connected), Now);

    [Theory]
    [InlineData(4, HealthStatus.Healthy, null)]
    [InlineData(59, HealthStatus.Healthy, null)]
    [InlineData(60, HealthStatus.Degraded, "rpoExceeded")]
    [InlineData(89, HealthStatus.Degraded, "rpoExceeded")]
    [InlineData(90, HealthStatus.Critical, "rpoCritical")]
    public void Twice_the_objective_warns_and_three_times_is_critical(double age, HealthStatus status, string? code)
    {
        var health = Health(new Story().Protected(), age);

        Assert.Equal((status, code), (health.Status, health.Reasons.SingleOrDefault()?.Code));
        Assert.Equal(TimeSpan.FromSeconds(age), health.Rpo);
        Assert.Null(health.RpoUnknownSince);
    }

    [Fact]
    public void An_RPO_that_is_not_measured_is_null_since_then_and_never_green()
    {
        var stale = Health(new Story().Protected(), 40, measuredSecondsAgo: 31);
        Assert.Equal((HealthStatus.Degraded, (TimeSpan?)null, (DateTimeOffset?)Now.AddSeconds(-31)), (stale.Status, stale.Rpo, stale.RpoUnknownSince));

        var never = ReplicationHealth.Of(new Story().Protected().State, ReplicationMeasurement.None, Now);
        Assert.Equal("rpoUnknown", never.Reasons.Single().Code);
        Assert.NotNull(never.RpoUnknownSince);
    }

    [Fact]
    public void A_point_from_the_future_shows_that_the_clocks_disagree()
    {
        var health = Health(new Story().Protected(), -60);
        Assert.Null(health.Rpo);
        Assert.Contains(health.Reasons, r => r is { Code: "clocksDisagree", Severity: HealthSeverity.Critical });
        Assert.Equal(TimeSpan.Zero, Health(new Story().Protected(), -1).Rpo);
    }

    [Theory]
    [InlineData(3600, "behind")]
    [InlineData(-3600, "ahead of")]
    public void Where_the_clocks_are_known_to_disagree_no_age_is_green(int offsetSeconds, string how)
    {
        var measured = new ReplicationMeasurement(Now.AddSeconds(-1), Now, true, ClockOffset: TimeSpan.FromSeconds(offsetSeconds));
        var health = ReplicationHealth.Of(new Story().Protected().State, measured, Now);
        Assert.Equal((HealthStatus.Critical, (TimeSpan?)null), (health.Status, health.Rpo));
        Assert.Contains(how, health.Reasons.Single(r => r.Code == "clocksDisagree").Reason, StringComparison.Ordinal);
        var close = measured with { ClockOffset = TimeSpan.FromSeconds(4) };
        Assert.Equal(HealthStatus.Healthy, ReplicationHealth.Of(new Story().Protected().State, close, Now).Status);
    }

    [Fact]
    public void A_lost_agent_degrades() =>
        Assert.Equal("agentDisconnected", Health(new Story().Protected(), 5, connected: false).Reasons.Single().Code);

    /// <summary>A server that was started when the source was dead already.</summary>
    [Fact]
    public void A_source_that_was_not_heard_since_the_server_listens_is_a_reason_after_a_short_while()
    {
        ReplicationHealth Since(Story story, int seconds) =>
            ReplicationHealth.Of(story.State, new(Now.AddSeconds(-1), Now, null, ListeningSince: Now.AddSeconds(-seconds)), Now);

        Assert.Equal(HealthStatus.Healthy, Since(new Story().Protected(), 15).Status);
        var reason = Since(new Story().Protected(), 16).Reasons.Single();
        Assert.Equal(("agentDisconnected", HealthSeverity.Warning), (reason.Code, reason.Severity));
        Assert.Contains($"has not been heard since this server began to listen for it at {Now.AddSeconds(-16):yyyy-MM-dd HH:mm:ss}Z", reason.Reason, StringComparison.Ordinal);
        Assert.Equal("replicaSilent", Since(new Story().Protected().Turned(), 16).Reasons.Single().Code);
    }

    [Fact]
    public void Of_a_source_that_is_gone_is_said_when_it_was_heard_last_and_not_what_it_does()
    {
        var measured = new ReplicationMeasurement(Now.AddSeconds(-5), Now, false, AgentHeardAt: Now.AddSeconds(-40), ListeningSince: Story.T0);
        var reason = ReplicationHealth.Of(new Story().Protected().State, measured, Now).Reasons.Single().Reason;
        Assert.EndsWith($"is not connected; it was heard last at {Now.AddSeconds(-40):yyyy-MM-dd HH:mm:ss}Z.", reason, StringComparison.Ordinal);
        Assert.DoesNotContain("track", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_server_that_has_just_started_has_measured_nothing_since_then()
    {
        var story = new Story().Protected();
        var started = ReplicationHealth.Of(story.State, ReplicationMeasurement.None with { ListeningSince = Now.AddSeconds(-3) }, Now);
        Assert.Equal((null, (DateTimeOffset?)Now.AddSeconds(-3)), (started.Rpo, started.RpoUnknownSince));
        Assert.Equal((HealthStatus.Degraded, "rpoUnknown"), (started.Status, started.Reasons.Single().Code));
        Assert.Contains("yet", started.Reasons.Single().Reason, StringComparison.Ordinal);
        // One that was protected later was not there before.
        Assert.Equal(Story.T0, ReplicationHealth.Of(story.State, ReplicationMeasurement.None with { ListeningSince = Story.T0.AddHours(-1) }, Now).RpoUnknownSince!.Value, TimeSpan.FromMinutes(1));
    }

    [Fact]
    public void No_state_but_Protected_is_ever_healthy_beside_a_failover_in_progress()
    {
        foreach (var (name, tell) in Story.EveryState)
        {
            var status = Health(tell(), 5).Status;
            if (name is "Protected" or "Protected (test failover runs)" or "Protected (from a replica)" or "Protected (from a flattened replica)" || tell().State is { Phase: Phase.UnplannedFailoverInProgress { Failure: null }, Problems.IsEmpty: true }) Assert.Equal(HealthStatus.Healthy, status);
            else Assert.NotEqual(HealthStatus.Healthy, status);
        }
    }

    [Fact]
    public void A_source_that_cannot_be_captured_and_a_store_that_takes_no_writes_or_rots_are_critical()
    {
        var measured = new ReplicationMeasurement(Now, Now, true, StoreFailure: "no space left", SourceFailure: "the disk has another size", StoreRot: "1 damaged place");
        var health = ReplicationHealth.Of(new Story().Protected().State, measured, Now);
        Assert.Equal(HealthStatus.Critical, health.Status);
        Assert.Equal(["sourceFailed", "storeFailed", "storeDamaged"], health.Reasons.Select(r => r.Code));
    }

    [Fact]
    public void Reasons_are_sentences_with_times_as_people_say_them_and_name_what_is_away()
    {
        var story = new Story().Protected();
        var late = Health(story, 7384.1066110).Reasons.Single();
        Assert.Equal(("The newest point is 2h03m old; the objective is 30s.", "Check link, process server and master target."), (late.Reason, late.Remedy));
        var away = Health(story, 100, connected: false).Reasons.Single(r => r.Code == "rpoCritical");
        Assert.Equal($"Bring agent '{story.State.Protection!.Agent}' back: nothing new comes without it.", away.Remedy);
        Assert.StartsWith("Bring the master target", Health(new Story().Protected().Turned(), 70, connected: false).Reasons.Single(r => r.Code == "rpoExceeded").Remedy, StringComparison.Ordinal);

        var locked = ReplicationHealth.Of(story.State, new ReplicationMeasurement(Now, Now, true, StoreFailure: "set store-key-file or store-key-command"), Now).Reasons.Single();
        Assert.EndsWith("store-key-command.", locked.Reason, StringComparison.Ordinal);
        Assert.Contains("key", locked.Remedy, StringComparison.Ordinal);
        foreach (var (_, tell) in Story.EveryState) Assert.All(Health(tell().Failed(WorkKind.HoldStore, permanent: false), 500, connected: false).Reasons, r => Assert.EndsWith(".", r.Reason, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_reason_has_a_remedy()
    {
        foreach (var (_, tell) in Story.EveryState) Assert.All(Health(tell(), 500, connected: false).Reasons, r => Assert.NotEmpty(r.Remedy));
    }

    [Fact]
    public void The_view_says_where_the_machine_may_write_and_what_is_allowed()
    {
        ProtectedMachineView View(Story story) => ProtectedMachineView.Of(story.State, ReplicationMeasurement.None, Now);

        Assert.Equal((Story.Source, "paris->lyon"), (View(new Story().Protected()).ActiveSite, View(new Story().Protected()).Direction));
        Assert.Null(View(new Story()).ActiveSite);
        Assert.Null(View(new Story().Protected().FailedOverTo(Story.Point)).ActiveSite);

        var over = View(new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served());
        Assert.Equal((Story.Target, "e1-s42", false, 2), (over.ActiveSite, over.FailoverPoint, over.SourceFenced, over.Epoch));
        Assert.Equal(["test-failover", "change-recovery-point", "commit", "cancel-failover"], over.AllowedActions.Where(a => a.Allowed).Select(a => a.Action));
        Assert.All(over.AllowedActions.Where(a => !a.Allowed), a => Assert.NotNull(a.Reason));
        Assert.Contains("\"critical\"", JsonSerializer.Serialize(View(new Story().Protected(Story.ManualPolicy).Diverged())), StringComparison.Ordinal);
    }

    [Fact]
    public void A_machine_can_fail_over_where_its_target_was_heard_lately_works_and_has_a_point()
    {
        var good = new ReplicationMeasurement(Now.AddMinutes(-10), Now.AddSeconds(-30), true);
        ReplicationMeasurement[] bad = [ReplicationMeasurement.None, good with { MeasuredAt = Now.AddSeconds(-31) }, good with { NewestConsistentAt = null }, good with { StoreFailure = "no space left" }];
        bool Can(Story story, ReplicationMeasurement measured) => ProtectedMachineView.Of(story.State, measured, Now).CanFailOver;

        Assert.True(Can(new Story().Protected(), good));
        Assert.All(bad, b => Assert.False(Can(new Story().Protected(), b)));
        Assert.False(Can(new Story().Enabled(), good));
        Assert.False(Can(new Story(), good));

        var over = new Story().Protected().FailedOverTo(Story.Point).EpochOpened();
        Assert.False(Can(over, good)); // begun, and nothing is served yet
        Assert.True(Can(over.Served(), good));
        Assert.True(Can(over.Committed(), good));
        Assert.False(Can(over, ReplicationMeasurement.None));
    }

    /// <summary>Nothing is replicated then, so that nobody asks how old its newest point is.</summary>
    [Theory]
    [InlineData("UnplannedFailoverInProgress", "targetSilent")]
    [InlineData("UnplannedFailoverInProgress (starting)", "targetSilent")]
    [InlineData("PlannedFailoverInProgress (opening)", "targetSilent")]
    [InlineData("PlannedFailoverInProgress (starting)", "targetSilent")]
    [InlineData("FailoverCommitPending", "replicaSilent")]
    [InlineData("FailedOver", "replicaSilent")]
    public void A_target_that_is_silent_while_the_machine_is_moved_to_it_or_runs_there_is_critical(string state, string code)
    {
        var story = Story.EveryState.Single(s => s.Name == state).Tell();
        Assert.DoesNotContain(Health(story, 5, measuredSecondsAgo: 30).Reasons, r => r.Severity == HealthSeverity.Critical);
        var silent = Health(story, 5, measuredSecondsAgo: 31);
        Assert.Equal((HealthStatus.Critical, code), (silent.Status, silent.Reasons.Single(r => r.Severity == HealthSeverity.Critical).Code));
        Assert.Contains($"has told nothing of its store since {Now.AddSeconds(-31):yyyy-MM-dd HH:mm:ss}Z", silent.Reasons.Single(r => r.Code == code).Reason, StringComparison.Ordinal);

        ReplicationHealth Started(int secondsAgo) => ReplicationHealth.Of(story.State, ReplicationMeasurement.None with { ListeningSince = Now.AddSeconds(-secondsAgo) }, Now);
        Assert.DoesNotContain(Started(30).Reasons, r => r.Code == code);
        Assert.Contains(Started(31).Reasons, r => r.Code == code);
    }

    /// <summary>What was said of it is forgotten where something else begins.</summary>
    [Fact]
    public void A_former_source_that_has_not_confirmed_its_end_is_told_until_it_has()
    {
        static IEnumerable<string> Told(Story story) => Health(story, 5).Reasons.Where(r => r.Code == "sourceNotFenced").Select(r => r.Reason);
        var story = new Story().Protected().FailedOverTo(Story.Point).EpochOpened().Served();
        Assert.Single(Told(story));
        story.Committed().Reversed(full: true).StoreContinued().Synchronized();
        Assert.Single(Told(story));

        var point = Story.Point with { Epoch = new Epoch(2) };
        foreach (var tell in (Func<Story>[])[() => story.FailedOverTo(point), story.EpochOpened, () => story.When(new SourceFenced(Story.Vm1, story.NextId(), new(3))), story.Served, story.Cancelled, () => story.StoreContinued().Synchronized(),
            () => story.PlannedStarted(), story.Cancelled, () => story.Flattened().Disabled()])
            Assert.Contains(Story.Agent.Value, Assert.Single(Told(tell())), StringComparison.Ordinal);
        story.When(new SourceFenced(Story.Vm1, story.NextId(), new(2)));
        Assert.Empty(Told(story));
    }

    [Fact]
    public void An_unreleased_agent_stays_visible_after_protection_ended()
    {
        var story = new Story().Protected().Disabled().Failed(WorkKind.ReleaseAgent, permanent: false).StoreGone();
        var health = ReplicationHealth.Of(story.State, ReplicationMeasurement.None, Now);
        Assert.Equal((HealthStatus.Unprotected, "workFailed"), (health.Status, health.Reasons.Single().Code));
    }
}
