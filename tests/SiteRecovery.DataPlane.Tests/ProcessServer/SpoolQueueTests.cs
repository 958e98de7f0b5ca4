using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>Since when the oldest frame waits, as far as it is known without reading it: never later than it was.</summary>
public sealed class SpoolQueueTests
{
    private const int FrameBytes = 100;
    private readonly SpoolQueue _queue = new();
    private readonly SpoolSegment _segment = new("", 1, new StreamOpening(new MachineId("m1"), Epoch.First, [], 1), 64);

    public SpoolQueueTests() => _queue.Add(_segment);

    [Fact]
    public void Of_one_that_waits_behind_nothing_it_is_its_own()
    {
        Append(1);
        HandNext();
        Settle(1);
        Assert.Null(Oldest);
        Append(3600);
        Assert.Equal(At(3600), Oldest);
    }

    [Fact]
    public void Of_what_has_to_be_handed_on_again_it_is_that_of_the_first()
    {
        foreach (var second in (int[])[1, 2, 3]) Append(second);
        HandNext();
        HandNext();
        Settle(1);
        Assert.Equal(At(2), Oldest);
        _queue.Rewind();
        Assert.Equal(At(2), Oldest);
    }

    [Fact]
    public void Of_one_that_nobody_has_read_yet_it_is_that_of_the_one_before()
    {
        foreach (var second in (int[])[1, 2, 3]) Append(second);
        HandNext();
        Settle(1);
        Assert.Equal(At(1), Oldest);
        HandNext();
        Assert.Equal(At(2), Oldest);
    }

    private DateTimeOffset? Oldest => _queue.Pending().Oldest?.Time;

    private static DateTimeOffset At(int second) => DateTimeOffset.UnixEpoch.AddSeconds(second);

    private void Append(int second) => _queue.Appended(_segment, new StreamPosition(1, _segment.LastOrdinal + 1), At(second), FrameBytes);

    private void HandNext()
    {
        Assert.True(_queue.TryPeek(out var frame));
        var (ordinal, sequence) = (frame.Position.Ordinal, new Sequence(frame.Position.Ordinal));
        _queue.Hand(frame, new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal, First = sequence, Last = sequence, Time = At((int)ordinal),
            StoredBytes = FrameBytes - BatchCodec.HeaderBytes,
        }, underWay: true);
    }

    private void Settle(long ordinal) => _queue.Settle(new StreamPosition(1, ordinal), new Sequence(ordinal));
}
