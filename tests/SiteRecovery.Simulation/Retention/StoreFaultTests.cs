namespace SiteRecovery.Simulation.Retention;

/// <summary>A store on a disk that is full, or fails, at any of its I/Os.</summary>
public sealed class StoreFaultTests
{
    [Theory]
    [InlineData(1)]
    public void A_full_disk_stops_it_with_a_reason_and_with_room_it_goes_on(int seed) => Everywhere(seed, DiskFault.Full);

    [Theory]
    [InlineData(3)]
    public void An_IO_error_stops_it_with_a_reason_and_it_goes_on(int seed) => Everywhere(seed, DiskFault.Error);

    [Theory]
    [InlineData(5)]
    public void A_torn_IO_stops_it_with_a_reason_and_it_goes_on(int seed) => Everywhere(seed, DiskFault.Torn);

    /// <summary>Seeds that failed once: leaves that were believed durable after a flush that was not, a damaged page that stayed, a root hash that outlived what it was of; and half a sector, which no disk writes.</summary>
    [Theory]
    [InlineData(477989018)]
    [InlineData(743169717)]
    [InlineData(924531058)]
    [InlineData(1045781498)]
    public void A_failing_disk_stops_it_with_a_reason_and_it_goes_on(int seed) => Somewhere(seed);

    [Fact]
    public void A_failing_disk_stops_it_with_a_reason_and_it_goes_on_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(4), Somewhere);

    private static void Somewhere(int seed)
    {
        var (faults, random) = (new StoreFaults(seed, 60), new Random(seed));
        var ios = faults.Ios();
        for (var i = 0; i < 40; i++) faults.Run(random.NextInt64(1, ios), (DiskFault)random.Next(3));
    }

    private static void Everywhere(int seed, DiskFault fault)
    {
        var faults = new StoreFaults(seed, 40);
        for (long at = 1, ios = faults.Ios(); at <= ios; at++) faults.Run(at, fault);
    }
}
