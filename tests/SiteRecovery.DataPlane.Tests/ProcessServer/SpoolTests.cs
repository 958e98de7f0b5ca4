using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

public sealed class SpoolTests : SpoolFixture
{
    [Fact]
    public async Task Without_a_link_the_stream_is_taken_and_with_it_everything_arrives_and_goes()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        Assert.Equal(new StreamOpened(default, default, Sequence.None, false), session.Opened);
        await agent.SendAsync(session, 40);
        Assert.Equal(new StreamPosition(1, 41), agent.ReceivedUpTo);
        Assert.True(Segments().Length > 2);
        var status = spool.StatusOf(Machine);
        Assert.Equal((agent.Sent.Sum(b => (long)b.Frame.Length), 41L, agent[1].Header.Time, false), (status.Bytes, status.Batches, status.OldestAt, status.Connected));
        Link.Up = true;
        await UntilAsync(() => agent.DurableUpTo == new StreamPosition(1, 41));
        Assert.Equal(new Sequence(Model.Count - 1), agent.DurableSequence);
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
        Assert.Equal(Model[50], await ReadAsync(50));
        await UntilAsync(() => Segments().Length <= 1);
        Assert.Equal((0L, 0L, null, true), (spool.StatusOf(Machine).Bytes, spool.StatusOf(Machine).Batches, spool.StatusOf(Machine).OldestAt, spool.StatusOf(Machine).Connected));
    }

    [Fact]
    public async Task A_cut_link_goes_on_where_the_target_stands()
    {
        var (spool, agent) = (Open(), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        for (var i = 0; i < 10; i++)
        {
            await agent.SendAsync(session, 10);
            if (i % 2 == 0) await UntilAsync(() => agent.DurableUpTo.Ordinal > i * 10);
            Link.Up = false;
            await agent.SendAsync(session, 5);
            Link.Up = true;
        }
        await UntilAsync(() => agent.DurableUpTo.Ordinal == agent.Ordinal);
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
        Assert.False(session.Closed.IsCompleted);
    }

    [Fact]
    public async Task The_target_is_empty_only_if_it_says_so_and_nothing_waits_here()
    {
        var (spool, agent) = (Open(), new Agent(this));
        await using (var session = await agent.OpenAsync(spool)) Assert.True(session.Opened.TargetEmpty);
        await using (var session = await agent.OpenAsync(spool))
        {
            Assert.True(session.Opened.TargetEmpty);
            Link.Takes = false;
            await agent.SendAsync(session, 1);
        }
        await using (var session = await agent.OpenAsync(spool)) Assert.Equal((false, 2L), (session.Opened.TargetEmpty, session.Opened.Held.Ordinal));
        Link.Takes = true;
        await UntilAsync(() => spool.StatusOf(Machine).Batches == 0);
        await using (var session = await agent.OpenAsync(spool)) Assert.False(session.Opened.TargetEmpty);
    }

    [Fact]
    public async Task A_spool_that_knows_nothing_asks_the_target_where_it_stands()
    {
        var (first, agent) = (Open(), new Agent(this));
        await using (var session = await agent.OpenAsync(first)) await agent.SendAsync(session, 5);
        await UntilAsync(() => first.StatusOf(Machine).Batches == 0 && first.StatusOf(Machine).Durable.Ordinal == 6);
        await first.DisposeAsync();
        Folder += "-elsewhere";
        await using var again = await agent.OpenAsync(Open());
        Assert.Equal((new StreamPosition(1, 6), new StreamPosition(1, 6), new Sequence(Model.Count - 1)), (again.Opened.Held, again.Opened.Durable, again.Opened.DurableSequence));
    }

    [Fact]
    public async Task Each_incarnation_is_sent_to_its_end_before_the_next_one_opens()
    {
        Link.Up = false;
        var spool = Open();
        Agent[] agents = [.. Enumerable.Range(1, 4).Select(i => new Agent(this, incarnation: i * 2, seed: i))];
        foreach (var agent in agents)
        {
            await using var session = await agent.OpenAsync(spool);
            Assert.Equal(agent == agents[0] ? default : agents[Array.IndexOf(agents, agent) - 1].Sent[^1].Position, session.Opened.Held);
            await agent.SendAsync(session, 8);
        }
        Link.Up = true;
        await UntilAsync(() => spool.StatusOf(Machine).Batches == 0);
        Assert.Equal([2L, 4L, 6L, 8L], Link.Openings.Select(o => o.Incarnation));
        Assert.Equal(agents.SelectMany(a => a.Sent).Select(b => b.Position), Link.Passed.Select(b => b.Position));
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
    }

    [Fact]
    public async Task Duplicates_are_acknowledged_and_gaps_are_refused()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 3);
        await session.OfferAsync(agent[2], default);
        Assert.Equal(4, spool.StatusOf(Machine).Batches);
        agent.Write();
        Assert.Equal(4, (await Assert.ThrowsAsync<StreamGapException>(async () => await session.OfferAsync(agent.Write(), default))).Held.Ordinal);
    }

    [Fact]
    public async Task A_full_spool_waits_without_loss_and_goes_on_when_the_target_has_taken_some()
    {
        Link.Up = false;
        var (spool, agent) = (Open(bytesMax: 64 << 10), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        var sending = agent.SendAsync(session, 60);
        await UntilAsync(() => spool.StatusOf(Machine).Bytes > 48 << 10);
        await Task.WhenAny(sending, Task.Delay(50));
        Assert.False(sending.IsCompleted);
        Assert.InRange(Segments().Sum(p => new FileInfo(p).Length), 48 << 10, 64 << 10);
        Link.Up = true;
        await sending.WaitAsync(TimeSpan.FromSeconds(30));
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 61);
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
    }

    [Fact]
    public async Task An_unknown_route_is_asked_for_again()
    {
        var routed = false;
        await using var spool = new DataPlane.ProcessServer.SpoolTarget(new() { Folder = Folder, ReconnectDelayMax = TimeSpan.FromMilliseconds(20) },
            _ => Volatile.Read(ref routed) ? Link : null, Storage.RealFileSystem.Instance, TimeProvider.System);
        var agent = new Agent(this);
        await using var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 3);
        Assert.Contains("not known", spool.StatusOf(Machine).LastError, StringComparison.Ordinal);
        Volatile.Write(ref routed, true);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 4);
        Assert.Null(spool.StatusOf(Machine).LastError);
    }

    [Fact]
    public async Task A_removed_machine_leaves_nothing_and_its_agent_is_told()
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 3);
        await spool.RemoveAsync(Machine, new Epoch(1));
        Assert.Empty(Directory.GetFiles(Folder));
        Assert.Empty(spool.Machines);
        Assert.NotNull(await session.Closed);
        await Assert.ThrowsAnyAsync<IOException>(async () => await session.OfferAsync(agent.Write(), default));
    }

    [Fact]
    public async Task Taking_a_batch_allocates_next_to_nothing()
    {
        Link.Up = false;
        var (spool, agent) = (Open(segmentBytes: 1 << 20), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 10);
        var batches = Enumerable.Range(0, 200).Select(_ => agent.Write(writes: 1)).ToArray();
        await Task.Yield();
        var before = GC.GetAllocatedBytesForCurrentThread();
        foreach (var batch in batches)
        {
            var offered = session.OfferAsync(batch, default);
            Assert.True(offered.IsCompletedSuccessfully);
        }
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / batches.Length, 0, 128);
    }
}
