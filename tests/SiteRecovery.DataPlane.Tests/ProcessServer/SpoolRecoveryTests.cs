using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>After kill -9, with a torn tail or damage, and where the target is no longer what it was.</summary>
public sealed class SpoolRecoveryTests : SpoolFixture
{
    [Fact]
    public async Task After_a_kill_what_was_received_is_still_held_and_is_sent_without_the_agent()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 40);
        spool = Killed(spool);
        await using (var again = await agent.OpenAsync(spool))
        {
            Assert.Equal(new StreamPosition(1, 41), again.Opened.Held);
            await agent.SendAsync(again, 5);
        }
        spool = Killed(spool);
        Link.Up = true;
        await UntilAsync(() => spool.StatusOf(Machine) is { Batches: 0, Durable.Ordinal: 46 });
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
        Assert.Equal(agent.Sent.Select(b => b.Frame.ToArray()), Link.Passed.Select(b => b.Frame.ToArray()));
    }

    [Fact]
    public async Task What_was_durable_is_remembered_when_its_segments_are_gone()
    {
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 30);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 31);
        Link.Up = false;
        spool = Killed(spool);
        await using var again = await agent.OpenAsync(spool);
        Assert.Equal((new StreamPosition(1, 31), new StreamPosition(1, 31), new Sequence(Model.Count - 1)), (again.Opened.Held, again.Opened.Durable, again.Opened.DurableSequence));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task After_a_restart_of_the_host_nothing_is_known_of_the_target_until_it_is_reached(bool bootHasId)
    {
        var (spool, agent) = (Open(boot: bootHasId ? Boot : Guid.Empty), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 30);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 31);
        Link.Up = false;
        spool = Killed(spool, boot: bootHasId ? Guid.NewGuid() : Guid.Empty);
        await using (var again = await agent.OpenAsync(spool)) Assert.Equal((default, Sequence.None, false), (again.Opened.Durable, again.Opened.DurableSequence, again.Opened.TargetEmpty));
        Link.Up = true;
        await using (await agent.OpenAsync(spool)) await UntilAsync(() => spool.StatusOf(Machine) is { Batches: 0, Durable: { Incarnation: 1, Ordinal: 31 } });
    }

    [Theory, InlineData(1), InlineData(87), InlineData(88), InlineData(200), InlineData(-1)]
    public async Task A_torn_tail_is_cut_and_the_stream_goes_on_behind_it(int bytesOfTheLastFrame)
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 20);
        var last = agent.Sent[^1].Frame.Length;
        spool = Killed(spool, folder =>
        {
            using var file = File.OpenWrite(Segments()[^1]);
            file.SetLength(file.Length - last + (bytesOfTheLastFrame < 0 ? last - 1 : bytesOfTheLastFrame));
        });
        await using (var again = await agent.OpenAsync(spool))
        {
            Assert.Equal(20, again.Opened.Held.Ordinal);
            await again.OfferAsync(agent[21], default);
            await agent.SendAsync(again, 3);
        }
        // Once more, so that what is behind the cut is found again.
        spool = Killed(spool);
        await using (var again = await agent.OpenAsync(spool)) Assert.Equal(24, again.Opened.Held.Ordinal);
        Link.Up = true;
        await UntilAsync(() => spool.StatusOf(Machine) is { Batches: 0, Durable.Ordinal: 24 });
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
    }

    [Fact]
    public async Task A_segment_whose_header_was_not_written_whole_is_as_if_it_were_not()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 5);
        spool = Killed(spool, folder => File.WriteAllBytes(Path.Combine(folder, "db1~0000000009.seg"), new byte[20]));
        await using var again = await agent.OpenAsync(spool);
        Assert.Equal(6, again.Opened.Held.Ordinal);
        await agent.SendAsync(again, 5);
        Assert.DoesNotContain(Segments(), p => new FileInfo(p).Length == 20);
    }

    [Fact]
    public async Task No_damaged_frame_is_ever_sent()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 30);
        var sent = agent.Sent.Select(b => b.Frame.ToArray()).ToList();
        var pristine = Folder;
        var (segments, random, lowered) = (Segments().Length, new Random(5), 0);
        Assert.True(segments > 2);
        for (var round = 0; round < 60; round++)
        {
            Folder = pristine;
            var damaged = Killed(spool, _ => Flip(Segments()[round % segments], random));
            await using (var again = await agent.OpenAsync(damaged))
            {
                if (again.Opened.Held.Ordinal < 31) lowered++;
                Link.Passed.Clear();
                Link.Up = true;
                await UntilAsync(() => damaged.StatusOf(Machine) is { Batches: 0, Connected: true } || again.Closed.IsCompleted);
                Link.Up = false;
                if (again.Opened.Held.Ordinal == 31 && !again.Closed.IsCompleted) Assert.Equal(31, damaged.StatusOf(Machine).Durable.Ordinal);
            }
            foreach (var batch in Link.Passed) Assert.True(batch.Frame.Span.SequenceEqual(sent[(int)batch.Header.Ordinal - 1]));
            await damaged.DisposeAsync();
        }
        Assert.True(lowered > 0);
    }

    [Fact]
    public async Task A_frame_damaged_while_it_waits_ends_the_agents_session_so_that_it_sees_what_is_held()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 30);
        using (var file = File.OpenWrite(Segments()[1]))
        {
            file.Position = file.Length / 2;
            file.Write([1, 2, 3, 4]);
        }
        Link.Up = true;
        Assert.Contains("damaged", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        await using var again = await agent.OpenAsync(spool);
        Assert.InRange(again.Opened.Held.Ordinal, 1, 30);
        await UntilAsync(() => Store.Held.Ordinal >= again.Opened.Held.Ordinal);
    }

    [Fact]
    public async Task A_stale_epoch_is_refused_at_once_also_after_a_restart_until_a_newer_one_begins()
    {
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 5);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 6);
        Link.Takes = false;
        await agent.SendAsync(session, 5);
        Link.RefuseWith = new StaleEpochException(new Epoch(3));
        Link.CutWith(new StaleEpochException(new Epoch(3)));
        Assert.Equal(3, Assert.IsType<StaleEpochException>(await session.Closed.WaitAsync(TimeSpan.FromSeconds(30))).Current.Value);
        await UntilAsync(() => Segments().Length == 0);
        var attempts = Link.Attempts;
        Assert.Equal(3, (await Assert.ThrowsAsync<StaleEpochException>(async () => await agent.OpenAsync(spool))).Current.Value);
        Link.Up = false;
        spool = Killed(spool);
        Assert.Equal(3, (await Assert.ThrowsAsync<StaleEpochException>(async () => await agent.OpenAsync(spool))).Current.Value);
        Assert.Equal(attempts, Link.Attempts);
        await using var newer = await new Agent(this, epoch: 4).OpenAsync(spool);
        Assert.Equal(default, newer.Opened.Held);
    }

    [Fact]
    public async Task A_newer_epoch_drops_what_waits_of_the_older_one()
    {
        Link.Up = false;
        var (spool, older, newer) = (Open(), new Agent(this), new Agent(this, epoch: 2));
        var session = await older.OpenAsync(spool);
        await older.SendAsync(session, 30);
        await using var opened = await newer.OpenAsync(spool);
        Assert.Equal(new StreamOpened(default, default, Sequence.None, false), opened.Opened);
        Assert.NotNull(await session.Closed);
        Assert.Equal(0, spool.StatusOf(Machine).Batches);
        await newer.SendAsync(opened, 1);
        Assert.Equal(2, spool.StatusOf(Machine).Batches);
        await Assert.ThrowsAsync<StaleEpochException>(async () => await older.OpenAsync(spool));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_target_that_lost_what_was_durable_is_shown_to_the_agent(bool empty)
    {
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11);
        Link.Up = false;
        await agent.SendAsync(session, 10);
        var truth = empty ? new StreamOpened(default, default, Sequence.None, true) : new StreamOpened(new(1, 7), new(1, 7), new(18), false);
        Link.Says = _ => truth;
        spool = Killed(spool);
        session = await agent.OpenAsync(spool);
        Assert.Equal((21L, 11L), (session.Opened.Held.Ordinal, session.Opened.Durable.Ordinal));
        Link.Up = true;
        Assert.Contains("lost durable data", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        // That it is empty is seen over a link only; that it has lost something is told in so many words, also to one that knows what it had.
        var knows = agent.Opening with { KnownDurable = new Sequence(20), KnownPosition = new StreamPosition(1, 11) };
        Assert.Equal(truth with { TargetLost = true }, (await spool.OpenAsync(knows, agent, default)).Opened);
        Assert.DoesNotContain(Link.Passed, b => b.Header.Ordinal > 11);
    }

    /// <summary>Also where the spool is killed before it has met the target: the agent may not come back before it does.</summary>
    [Theory, InlineData(false, 50), InlineData(true, 50), InlineData(false, 18), InlineData(true, 18), InlineData(true, 50, true), InlineData(true, 18, true)]
    public async Task What_the_agent_knows_to_be_durable_is_looked_for_by_a_spool_that_remembers_nothing(bool killed, long known, bool booted = false)
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        // A synchronization comes to a position of its own without any sequence.
        var session = await spool.OpenAsync(agent.Opening with { KnownDurable = new Sequence(known), KnownPosition = new StreamPosition(1, 5) }, agent, default);
        Assert.Equal(default, session.Opened.Durable);
        await agent.SendAsync(session, 10);
        if (killed) session = await agent.OpenAsync(spool = booted ? Killed(spool, boot: Guid.NewGuid()) : Killed(spool));
        Link.Says = _ => new StreamOpened(default, new(1, 0), new(18), false); // of before all that waits
        Link.Up = true;
        Assert.Contains("lost durable data", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        Assert.Empty(Link.Passed);
        Assert.Equal(new Sequence(18), (await agent.OpenAsync(spool)).Opened.DurableSequence);
        Assert.Contains(Link.Openings, o => o.KnownDurable == new Sequence(known) && o.KnownPosition == new StreamPosition(1, 5));
    }

    /// <summary>The link that is up was judged when nobody had said yet what the target must have.</summary>
    [Fact]
    public async Task What_the_agent_knows_to_be_durable_is_looked_for_over_a_link_that_is_up()
    {
        Link.Says = _ => new StreamOpened(default, default, Sequence.None, false);
        var (spool, agent) = (Open(), new Agent(this));
        await using (await agent.OpenAsync(spool)) Assert.True(spool.StatusOf(Machine).Connected);
        var opening = agent.Opening with { KnownPosition = new StreamPosition(1, 5) };
        var session = await spool.OpenAsync(opening, agent, default);
        Assert.Contains("lost durable data", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        Assert.True((await spool.OpenAsync(opening, agent, default)).Opened.TargetLost);
    }

    /// <summary>Its way led by another process server meanwhile: nothing is lost.</summary>
    [Fact]
    public async Task What_the_agent_heard_by_another_way_is_no_loss_to_a_spool_that_remembers_less()
    {
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11);
        Link.Up = false;
        var opened = (await spool.OpenAsync(agent.Opening with { KnownDurable = new Sequence(70), KnownPosition = new StreamPosition(1, 40) }, agent, default)).Opened;
        Assert.Equal((new StreamPosition(1, 40), new StreamPosition(1, 40), new Sequence(70), false), (opened.Held, opened.Durable, opened.DurableSequence, opened.TargetLost));
    }

    /// <summary>A mark that a disk does not take is as it was; the segments say what the agent has said since then.</summary>
    [Fact]
    public async Task A_mark_of_before_takes_nothing_from_what_waits_behind_what_the_agent_knew()
    {
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 10);
        await UntilAsync(() => spool.StatusOf(Machine).Durable.Ordinal == 11);
        Link.Up = false;
        var before = File.ReadAllBytes(Path.Combine(Folder, "db1~durable"));
        agent.Ordinal += 5; // by another way
        var known = new StreamPosition(1, 16);
        var session = await spool.OpenAsync(agent.Opening with { KnownDurable = new Sequence(Model.Count - 1), KnownPosition = known }, agent, default);
        await agent.SendAsync(session, 5);
        spool = Killed(spool, folder => File.WriteAllBytes(Path.Combine(folder, "db1~durable"), before));
        var opened = (await agent.OpenAsync(spool)).Opened;
        Assert.Equal((new StreamPosition(1, 21), known), (opened.Held, opened.Durable));
    }

    /// <summary>What waits here then does not go on where this spool stopped, and is whole all the same.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task What_went_by_another_way_is_no_hole_in_what_waits_here(bool killed)
    {
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11);
        Link.Up = false;
        await using (var detour = await agent.OpenAsync(Stores))
        {
            await agent.SendAsync(detour, 5);
            await UntilAsync(() => agent.DurableUpTo.Ordinal == 16);
        }
        var opening = agent.Opening with { KnownDurable = agent.DurableSequence, KnownPosition = agent.DurableUpTo };
        var session = await spool.OpenAsync(opening, agent, default);
        Assert.Equal(new StreamPosition(1, 16), session.Opened.Held);
        await agent.SendAsync(session, 5);
        if (killed) session = await (spool = Killed(spool)).OpenAsync(opening, agent, default);
        Assert.Equal(new StreamPosition(1, killed ? 21 : 16), session.Opened.Held);
        Link.Up = true;
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 21 || session.Closed.IsCompleted);
        Assert.False(session.Closed.IsCompleted);
        Assert.Null(spool.StatusOf(Machine).LastError);
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
    }

    /// <summary>A target that has nothing left, and is not empty, stands where a spool stands that has not asked it yet; and so does an empty one while the link takes long.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_loss_that_no_position_says_is_told_until_an_agent_that_knows_it_sends(bool empty)
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        var opening = agent.Opening with { KnownDurable = new Sequence(50) };
        var session = await spool.OpenAsync(opening, agent, default);
        Assert.False(session.Opened.TargetLost);
        Link.Says = _ => new StreamOpened(default, default, Sequence.None, empty);
        Link.Up = true;
        Assert.Contains("lost durable data", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        for (var again = 0; again < 2; again++)
        {
            session = await spool.OpenAsync(opening, agent, default);
            Assert.True(session.Opened.TargetLost);
        }
        await agent.SendAsync(session, 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11);
        Assert.False((await agent.OpenAsync(spool)).Opened.TargetLost);
    }

    [Fact]
    public async Task A_loss_that_the_target_tells_of_reaches_the_agent_and_what_it_sends_then_the_target()
    {
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11);
        Link.Says = opened => opened with { TargetLost = true };
        Link.CutWith(new IOException("the target has ended"));
        Assert.Contains("lost durable data", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        session = await agent.OpenAsync(spool);
        Assert.True(session.Opened.TargetLost);
        // As long as nothing has come to the target it says so to everybody, and whoever opens hears it.
        session = await agent.OpenAsync(spool);
        Assert.True(session.Opened.TargetLost);
        await agent.SendAsync(session, 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 21);
        Assert.False((await agent.OpenAsync(spool)).Opened.TargetLost);
    }

    [Fact]
    public async Task What_the_target_cannot_continue_is_dropped_and_the_agent_told()
    {
        var (spool, agent) = (Open(), new Agent(this));
        var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 10);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 11 && Segments().Length <= 1);
        Link.Up = false;
        await agent.SendAsync(session, 20);
        var truth = new StreamOpened(new(1, 3), new(1, 3), new(6), false);
        Link.Says = _ => truth;
        spool = Killed(spool, folder =>
        {
            File.Delete(Path.Combine(folder, "db1~durable"));
            File.Delete(Segments()[0]);
        });
        session = await agent.OpenAsync(spool);
        Assert.Equal(31, session.Opened.Held.Ordinal);
        Link.Up = true;
        Assert.Contains("does not continue", (await session.Closed.WaitAsync(TimeSpan.FromSeconds(30)))!.Message, StringComparison.Ordinal);
        Assert.Equal(truth, (await agent.OpenAsync(spool)).Opened);
    }

    private static void Flip(string path, Random random)
    {
        var bytes = File.ReadAllBytes(path);
        bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
        File.WriteAllBytes(path, bytes);
    }
}
