namespace SiteRecovery.Simulation.Retention;

/// <summary>A single byte that rots in any file of a store is found, and no view shows it.</summary>
public sealed class StoreRotTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(411279482)]
    public void A_rotten_byte_of_any_file_is_found_and_never_shown(int seed)
    {
        var rot = new StoreRot(seed, 60);
        var missed = new List<string>();
        foreach (var file in rot.Files)
            foreach (var offset in rot.OffsetsIn(file))
            {
                string? why;
                try
                {
                    why = rot.Flip(file, offset);
                }
                catch (Exception wrong)
                {
                    why = wrong.ToString();
                }
                if (why is not null) missed.Add($"{file} at {offset}: {why}");
            }
        AssertNone(missed);
    }

    /// <summary>But for the segment that is being written, which is read when it is sealed or opened.</summary>
    [Theory]
    [InlineData(4)]
    public void A_byte_that_rots_while_the_store_is_open_is_found_by_the_next_round_of_the_scrub(int seed)
    {
        var rot = new StoreRot(seed, 60);
        AssertNone([.. rot.Files.Where(rot.IsScrubbed).SelectMany(file => rot.OffsetsIn(file).Where(offset => !rot.IsUnused(file, offset) && !rot.FindsWhileOpen(file, offset)).Select(offset => $"{file} at {offset}"))]);
    }

    [Fact]
    public void A_rotten_byte_is_found_and_never_shown_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(2), A_rotten_byte_of_any_file_is_found_and_never_shown);

    private static void AssertNone(List<string> missed) =>
        Assert.True(missed.Count == 0, $"{missed.Count} bytes:\n{string.Join('\n', missed.GroupBy(m => m.Split(' ')[0]).SelectMany(g => g.Take(3)))}");
}
