using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>Capture → spool → store, against what the writer itself remembers of its writes.</summary>
public sealed class SpoolChainTests : SpoolFixture
{
    private readonly Door _door = new();
    private readonly List<(int Offset, byte Value)> _ledger = []; // write n has sequence n + 1

    [Theory, InlineData(1, false), InlineData(2, false), InlineData(3, false), InlineData(1, true), InlineData(2, true), InlineData(3, true), InlineData(4, true)]
    public async Task Through_cuts_and_kills_the_target_is_a_prefix_at_every_viewable_position(int seed, bool coalescing)
    {
        var (coalesceAt, segmentBytes) = coalescing ? (0.0, 16 << 10) : (2.0, 64 << 10);
        _door.Next = Open(coalesceAt: coalesceAt, segmentBytes: segmentBytes);
        var coalesced = 0L;
        await RunAsync(4 << 20, async capture =>
        {
            var random = new Random(seed);
            for (var round = 0; round < 12; round++)
            {
                if (random.Next(3) == 0) Link.Up = false;
                await WriteAsync(capture, random, random.Next(50, 300), coalescing ? 16 * 4096 : DiskBytes);
                if (random.Next(3) == 0)
                {
                    Link.Up = false;
                    coalesced += ((SpoolTarget)_door.Next).StatusOf(Machine).CoalescedBatches;
                    _door.Next = Killed((SpoolTarget)_door.Next, coalesceAt: coalesceAt, segmentBytes: segmentBytes);
                }
                await WriteAsync(capture, random, random.Next(50));
                if (round % 3 != 0 && random.Next(3) == 0) continue;
                Link.Up = true;
                if (round % 3 != 0) continue;
                await UntilAsync(() => capture.Status().Complete);
                await WriteAsync(capture, random, 60, coalescing ? 16 * 4096 : DiskBytes);
                await UntilAsync(() => capture.Status() is var s && s.Durable == s.Newest);
            }
        });
        await AssertPrefixesAsync(seed, least: 6);
        coalesced += ((SpoolTarget)_door.Next).StatusOf(Machine).CoalescedBatches;
        // Where it is allowed it depends on who is faster: that it happens, CoalescingTests shows.
        if (!coalescing) Assert.Equal(0, coalesced);
    }

    [Fact]
    public async Task A_full_spool_turns_the_agent_to_tracking_and_a_delta_makes_the_target_whole()
    {
        _door.Next = Open(bytesMax: 1 << 20, segmentBytes: 32 << 10);
        await RunAsync(128 << 10, async capture =>
        {
            var random = new Random(1);
            long Waiting() => ((SpoolTarget)_door.Next).StatusOf(Machine).Bytes;
            await WriteAsync(capture, random, 100);
            await UntilAsync(() => capture.Status().Durable == capture.Status().Newest);
            Link.Up = false;
            while (capture.Status().Mode == CaptureMode.Streaming)
            {
                var shipped = capture.Status().BytesShipped;
                await WriteAsync(capture, random, 8, DiskBytes / 8).WaitAsync(TimeSpan.FromSeconds(30));
                await UntilAsync(() => capture.Status().BytesShipped >= shipped + 8 * 4096 || Waiting() > 800 << 10);
            }
            Assert.InRange(Waiting(), 800 << 10, 1 << 20);
            await WriteAsync(capture, random, 500, DiskBytes / 8);
            Assert.InRange(capture.Status().DirtyBytes, 1, DiskBytes / 4);
            Link.Up = true;
        });
        Assert.InRange(Link.Passed.Where(b => b.Header.Kind == BatchKind.Sync).Sum(b => (long)b.Header.RawBytes), 1, DiskBytes + DiskBytes / 4);
        await AssertPrefixesAsync(1, least: 3);
    }

    [Fact]
    public async Task A_hash_waits_until_what_was_offered_before_it_is_durable()
    {
        var (spool, agent) = (Open(), new Agent(this));
        await using var session = await agent.OpenAsync(spool);
        await agent.SendAsync(session, 5);
        await UntilAsync(() => agent.DurableUpTo.Ordinal == 6);
        Link.Takes = false;
        await agent.SendAsync(session, 5);
        var asked = session.HashesAsync(0, 0, 4096, DiskBytes / 4096, default).AsTask();
        Link.Up = false;
        Link.Takes = true;
        Assert.False(asked.IsCompleted);
        Link.Up = true;
        var hashes = await asked.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(11, Store.Durable.Ordinal);
        for (var i = 0; i < hashes.Length; i++)
        {
            var block = Model[^1].AsSpan(i * 4096, 4096);
            Assert.Equal(block.ContainsAnyExcept((byte)0) ? System.IO.Hashing.XxHash3.HashToUInt64(block) : 0, hashes[i]);
        }
        Link.Up = false;
        await using var later = await agent.OpenAsync(spool);
        var cut = later.HashesAsync(0, 0, 4096, 1, default).AsTask();
        await later.DisposeAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => cut.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    private async Task RunAsync(int buffer, Func<MachineCapture, Task> during)
    {
        var disk = Folder + ".disk";
        await File.WriteAllBytesAsync(disk, new byte[DiskBytes]);
        await using var capture = await MachineCapture.OpenAsync(new CaptureOptions
        {
            Machine = Machine, Epoch = Epoch.First, StateFolder = Folder + ".capture", BootId = Boot, BufferBytes = buffer, Linger = TimeSpan.Zero,
            ReconnectDelayMax = TimeSpan.FromMilliseconds(50), Disks = [new(new(0, "vda", DiskBytes), disk)],
        }, RealFileSystem.Instance, TimeProvider.System);
        using var stop = new CancellationTokenSource();
        var run = capture.RunAsync(_door, stop.Token);
        await capture.StartSynchronizationAsync();
        await UntilAsync(() => capture.Status().Complete);
        await during(capture);
        Link.Up = true;
        await UntilAsync(() => capture.Status() is { Complete: true, DirtyBytes: 0 } s && s.Durable == s.Newest && Store.Consistent && Store.DurableSequence == s.Newest);
        await stop.CancelAsync();
        await run;
        Assert.Equal(await File.ReadAllBytesAsync(disk), await ReadAsync(capture.Status().Newest.Value));
    }

    private async Task WriteAsync(MachineCapture capture, Random random, int writes, int within = DiskBytes)
    {
        for (var i = 0; i < writes; i++)
        {
            var (offset, value) = (random.Next(within / 4096) * 4096, (byte)random.Next(256));
            _ledger.Add((offset, value));
            await capture.Disks[0].WriteAsync(offset, Enumerable.Repeat(value, 4096).ToArray(), false, default);
            if (i % 8 == 0) await Task.Yield();
        }
    }

    private async Task AssertPrefixesAsync(int seed, int least)
    {
        var (disk, random, viewable) = (new byte[DiskBytes], new Random(seed), 0);
        for (var sequence = 1; sequence <= _ledger.Count; sequence++)
        {
            var (offset, value) = _ledger[sequence - 1];
            disk.AsSpan(offset, 4096).Fill(value);
            if (random.Next(20) != 0 && sequence != _ledger.Count) continue;
            if (Store.ResolvePoint(new PointSelector.ById($"e1-s{sequence}")) is null) continue;
            viewable++;
            var view = await ReadAsync(sequence);
            Assert.True(disk.AsSpan().SequenceEqual(view), $"sequence {sequence} is no prefix");
        }
        Assert.True(viewable > least);
    }

    /// <summary>Where the agent finds the process server, whichever process that is now.</summary>
    private sealed class Door : IStreamTarget
    {
        public IStreamTarget Next { get; set; } = null!;
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => Next.OpenAsync(opening, positions, stop);
    }
}
