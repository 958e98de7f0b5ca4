using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Tests.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>An epoch begins while the sender is in the midst of what waits of the one before.</summary>
public sealed class SpoolEpochTests : SpoolFixture
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task What_the_sender_reads_of_an_epoch_that_is_over_says_nothing_of_the_one_that_has_begun()
    {
        using var files = new HeldReads();
        Link.Up = false;
        await using var spool = new SpoolTarget(new SpoolOptions { Folder = Folder, SegmentBytes = 64 << 10, ReconnectDelayMax = TimeSpan.FromMilliseconds(20) }, _ => Link, files, TimeProvider.System);
        var (older, newer) = (new Agent(this), new Agent(this, incarnation: 2, epoch: 2));
        await using (var session = await older.OpenAsync(spool)) await older.SendAsync(session, 30);
        Assert.True(Segments().Length > 2);
        files.Hold();
        Link.Up = true;
        await files.Arrived.WaitAsync(Patience); // the sender has read a frame's header, and opens its segment again for the rest
        var opening = newer.OpenAsync(spool).AsTask();
        await UntilAsync(() => Segments().Length == 0);
        files.LetGo();
        await using var opened = await opening.WaitAsync(Patience);
        await opened.OfferAsync(newer.Start(), default);
        // The target's store has not begun the epoch, so that all of it waits here.
        var attempts = Volatile.Read(ref Link.Attempts);
        await UntilAsync(() => Volatile.Read(ref Link.Attempts) > attempts + 1 || opened.Closed.IsCompleted);
        Assert.False(opened.Closed.IsCompleted);
        Assert.Equal(1, spool.StatusOf(Machine).Batches);
        Assert.DoesNotContain(Segments(), p => new FileInfo(p).Length == 0);
    }

    /// <summary>Made by a process that was killed before it wrote the header, or by one of before 2026-11-30 in the place of one that it had deleted.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task An_empty_segment_takes_nothing_with_it_that_continues_what_is_in_front_of_it(bool hole)
    {
        Link.Up = false;
        var (spool, agent) = (Open(), new Agent(this));
        await agent.SendAsync(await agent.OpenAsync(spool), 40);
        Assert.True(Segments().Length > 4);
        spool = Killed(spool, folder => File.WriteAllBytes(Path.Combine(folder, hole ? Path.GetFileName(Segments()[1]) : "db1~0000000000.seg"), []));
        await using var again = await agent.OpenAsync(spool);
        // Behind a hole nothing can be sent.
        if (hole) Assert.InRange(again.Opened.Held.Ordinal, 1, 40);
        else Assert.Equal(41, again.Opened.Held.Ordinal);
        Assert.Equal(again.Opened.Held.Ordinal, spool.StatusOf(Machine).Batches);
        Assert.DoesNotContain(Segments(), p => new FileInfo(p).Length == 0);
    }

    private sealed class HeldReads : RealFiles, IDisposable
    {
        private readonly TaskCompletionSource _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ManualResetEventSlim _go = new();
        private volatile bool _holds;

        public Task Arrived => _arrived.Task;
        public void Hold() => _holds = true;

        public void LetGo()
        {
            _holds = false;
            _go.Set();
        }

        protected override IBlockFile Around(string path, IBlockFile file) => path.EndsWith(".seg", StringComparison.Ordinal) ? new File(file, AfterRead) : file;

        private void AfterRead(int bytes)
        {
            if (!_holds || bytes != BatchCodec.HeaderBytes) return;
            _arrived.TrySetResult();
            _go.Wait(Patience);
        }

        public void Dispose() => _go.Dispose();

        private sealed class File(IBlockFile file, Action<int> afterRead) : AroundFile(file)
        {
            public override void Read(long offset, Span<byte> into)
            {
                base.Read(offset, into);
                afterRead(into.Length);
            }
        }
    }
}
