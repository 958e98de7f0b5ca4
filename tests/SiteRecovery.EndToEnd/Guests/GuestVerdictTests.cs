using System.Globalization;
using System.IO.Hashing;
using System.Text;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>The judge itself: it must turn red for each way in which a replica can be wrong.</summary>
public sealed class GuestVerdictTests
{
    private static readonly DateTimeOffset Death = new(2026, 1, 31, 3, 0, 0, TimeSpan.Zero);
    private static readonly Acknowledgement[] Ledger = [.. Enumerable.Range(1, 10).Select(n => new Acknowledgement(n, Death.AddMilliseconds(n - 11)))];

    [Fact]
    public void A_prefix_that_keeps_what_its_point_promised_holds_and_tells_the_loss()
    {
        var verdict = GuestVerdict.Judge(Ledger, [new(8, null), new(7, null)], point: Death.AddMilliseconds(-3), Death);
        Assert.Equal(new GuestVerdict(null, 7, 3, TimeSpan.FromMilliseconds(3), TimeSpan.FromMilliseconds(3)), verdict);
    }

    [Fact]
    public void Nothing_lost_is_a_loss_of_zero() =>
        Assert.Equal(new GuestVerdict(null, 11, 0, TimeSpan.Zero, TimeSpan.Zero), GuestVerdict.Judge(Ledger, [new(11, null), new(11, null)], Death, Death));

    [Theory]
    [InlineData(6, 6, "record 7 was acknowledged 1.0 ms before the point's time")]
    [InlineData(7, 8, "disk 1 holds record 8")]
    [InlineData(10, 8, "the disks are of different moments")]
    public void What_no_prefix_can_hold_is_red(long first, long second, string reason) =>
        Assert.StartsWith(reason, GuestVerdict.Judge(Ledger, [new(first, null), new(second, null)], Death.AddMilliseconds(-3), Death).Reason, StringComparison.Ordinal);

    [Fact]
    public void A_damaged_disk_is_red() =>
        Assert.Equal("disk 1: torn", GuestVerdict.Judge(Ledger, [new(10, null), new(10, "torn")], Death, Death).Reason);

    [Fact]
    public void Whole_records_are_counted_and_half_of_one_at_the_end_is_nobodys_loss()
    {
        Assert.Equal(new GuestRecords(0, null), GuestRecords.Parse([]));
        Assert.Equal(new GuestRecords(3, null), GuestRecords.Parse(FileOf(1, 2, 3)));
        Assert.Equal(new GuestRecords(2, null), GuestRecords.Parse(FileOf(1, 2, 3).AsSpan()[..^5]));
    }

    [Fact]
    public void A_gap_a_flipped_byte_and_a_block_of_zeroes_are_told()
    {
        Assert.StartsWith("record 2 is missing", GuestRecords.Parse(FileOf(1, 3)).Problem, StringComparison.Ordinal);
        var flipped = FileOf(1, 2, 3);
        flipped[^12] ^= 1;
        Assert.Equal(2, GuestRecords.Parse(flipped).Count);
        Assert.StartsWith("record 3 is damaged", GuestRecords.Parse(flipped).Problem, StringComparison.Ordinal);
        Assert.StartsWith("record 1 is missing", GuestRecords.Parse([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (byte)'\n']).Problem, StringComparison.Ordinal);
    }

    private static byte[] FileOf(params int[] numbers) => [.. numbers.SelectMany(number =>
    {
        var text = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{number} 1700000000000000 0123456789abcdef"));
        return text.Concat(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $" {Crc32.HashToUInt32(text):x8}\n")));
    })];
}
