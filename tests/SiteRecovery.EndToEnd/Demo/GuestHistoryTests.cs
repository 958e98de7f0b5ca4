using SiteRecovery.Node.Demo;
using SiteRecovery.Node.Demo.Guest;

namespace SiteRecovery.EndToEnd.Demo;

/// <summary>The verdict on a guest's disk has to see everything that makes it other than a prefix.</summary>
public sealed class GuestHistoryTests
{
    private readonly byte[] _disk = new byte[GuestRecord.DiskBytes];

    [Fact]
    public async Task A_prefix_of_the_history_is_one_with_as_many_records_as_it_has()
    {
        Write(life: 1, 1, 90);
        Assert.Equal((true, 90, 10), await JudgeAsync(History(1, 100)));
        Assert.Equal((true, 90, 0), await JudgeAsync(History(1, 90)));
    }

    [Fact]
    public async Task The_record_that_was_in_flight_may_be_there_and_no_more()
    {
        Write(life: 1, 1, 91);
        Assert.Equal((true, 91, 0), await JudgeAsync(History(1, 90)));
        Write(life: 1, 92, 92);
        Assert.False((await JudgeAsync(History(1, 90))).Holds);
    }

    [Fact]
    public async Task A_later_life_may_have_written_behind_the_prefix()
    {
        Write(life: 1, 1, 90);
        Write(life: 2, 91, 300);
        Assert.Equal((true, 90, 10), await JudgeAsync(History(1, 100)));
        // Once it is part of the history, it must all be there.
        Assert.Equal((true, 300, 0), await JudgeAsync(History(1, 100).Then(90, 2, 300)));
        Assert.Equal((true, 300, 5), await JudgeAsync(History(1, 100).Then(90, 2, 305)));
    }

    [Fact]
    public async Task A_missing_record_before_one_that_is_there_is_no_prefix()
    {
        Write(life: 1, 1, 90);
        _disk.AsSpan((int)GuestRecord.OffsetOf(40), GuestRecord.Bytes).Clear();
        var verdict = await History(1, 90).JudgeAsync(ReadAsync, _ => default);
        Assert.Contains("holds record 41 but lacks record 40", verdict.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_lost_life_wrote_beyond_the_fork_must_be_gone()
    {
        Write(life: 1, 1, 100);
        Write(life: 2, 91, 95);
        Assert.False((await JudgeAsync(History(1, 100).Then(90, 2, 95))).Holds);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(511)]
    public async Task A_byte_that_nobody_wrote_is_seen(int at)
    {
        Write(life: 1, 1, 90);
        _disk[GuestRecord.OffsetOf(40) + at] ^= 1;
        Assert.False((await JudgeAsync(History(1, 90))).Holds);
    }

    [Fact]
    public void No_two_records_lie_in_one_place()
    {
        var places = new HashSet<long>();
        for (long number = 1; number <= GuestRecord.RecordsMax; number++) Assert.True(places.Add(GuestRecord.OffsetOf(number)));
        Assert.InRange(places.Max(), 0, GuestRecord.DiskBytes - GuestRecord.Bytes);
        Assert.DoesNotContain(0, places); // the guest itself
    }

    private static GuestHistory History(uint life, long last) => GuestHistory.Empty.Then(0, life, last);

    private async Task<(bool Holds, long Prefix, long Lost)> JudgeAsync(GuestHistory history) =>
        await history.JudgeAsync(ReadAsync, _ => default) is var verdict ? (verdict.Holds, verdict.PrefixLength, verdict.LostWrites) : default;

    private Task ReadAsync(long offset, Memory<byte> into)
    {
        _disk.AsMemory((int)offset, into.Length).CopyTo(into);
        return Task.CompletedTask;
    }

    private void Write(uint life, uint first, uint last)
    {
        for (var number = first; number <= last; number++) GuestRecord.Fill(_disk.AsSpan((int)GuestRecord.OffsetOf(number), GuestRecord.Bytes), number, life);
    }
}
