using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Demo;

public sealed class PrefixVerdictTests
{
    private const int Seed = 7;
    private const long DiskBytes = 64 * BlockPattern.BlockBytes;
    private readonly List<LedgerEntry> _ledger = [];

    private byte[] DiskAfter(long writes, long without = -1)
    {
        var disk = new byte[DiskBytes];
        for (long at = 0; at < DiskBytes; at += BlockPattern.BlockBytes) BlockPattern.Fill(disk.AsSpan((int)at, BlockPattern.BlockBytes), Seed, 0, at);
        for (long write = 1; write <= writes; write++)
        {
            if (write == without) continue;
            var at = BlockPattern.OffsetOf(Seed, write, DiskBytes);
            BlockPattern.Fill(disk.AsSpan((int)at, BlockPattern.BlockBytes), Seed, write, at);
        }
        return disk;
    }

    private Task<PrefixVerdict> Judge(byte[] replica, int acknowledged)
    {
        var block = new byte[BlockPattern.BlockBytes];
        for (var write = 1; write <= acknowledged; write++)
        {
            var at = BlockPattern.OffsetOf(Seed, write, DiskBytes);
            BlockPattern.Fill(block, Seed, write, at);
            _ledger.Add(new LedgerEntry(write, at, BlockPattern.Hash(block), DateTimeOffset.UnixEpoch.AddMilliseconds(100 * write)));
        }
        return PrefixVerdict.JudgeAsync(_ledger, Seed, DiskBytes, (offset, into) =>
        {
            replica.AsMemory((int)offset, into.Length).CopyTo(into);
            return Task.CompletedTask;
        });
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 50)]
    [InlineData(120, 150)]
    [InlineData(150, 150)]
    [InlineData(151, 150)]
    public async Task A_replica_that_is_a_prefix_is_accepted_and_its_loss_is_counted(int held, int acknowledged)
    {
        var verdict = await Judge(DiskAfter(held), acknowledged);
        Assert.True(verdict.Holds, verdict.Reason);
        Assert.Equal(held, verdict.PrefixLength);
        Assert.Equal(Math.Max(0, acknowledged - held), verdict.LostWrites);
    }

    [Fact]
    public async Task The_lost_seconds_are_the_age_of_the_prefix_in_the_ledger()
    {
        var verdict = await Judge(DiskAfter(140), 150);
        Assert.Equal(1.0, verdict.LostSeconds, 3);
    }

    [Fact]
    public async Task One_flipped_byte_anywhere_turns_the_verdict_red()
    {
        for (var at = 0; at < DiskBytes; at += 4999)
        {
            _ledger.Clear();
            var replica = DiskAfter(120);
            replica[at] ^= 1;
            Assert.False((await Judge(replica, 150)).Holds);
        }
    }

    [Fact]
    public async Task One_acknowledged_write_dropped_before_the_point_turns_the_verdict_red()
    {
        var lastTo = Enumerable.Range(1, 120).GroupBy(w => BlockPattern.OffsetOf(Seed, w, DiskBytes)).Select(g => g.Max()).Where(w => w < 120);
        foreach (var dropped in lastTo)
        {
            _ledger.Clear();
            Assert.False((await Judge(DiskAfter(120, without: dropped), 150)).Holds);
        }
    }
}
