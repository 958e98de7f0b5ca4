using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Transport;

public sealed class CreditBudgetTests
{
    private static readonly ChannelOptions Options = new() { WindowBytes = 1600, LeastWindowBytes = 100, GrowthBytesMax = 12_800 };

    [Fact]
    public void A_window_that_is_used_grows_to_the_whole_of_it_and_one_that_is_not_keeps_what_it_began_with()
    {
        var budget = new CreditBudget(Options);
        var windows = Enumerable.Range(0, 5).Select(_ => new CreditWindow()).ToArray();
        Assert.Equal([1600, 1600, 100, 100, 100], windows.Select(budget.Open));
        for (var frame = 0; frame < 30; frame++) budget.Processed(windows[^1], 100);
        Assert.Equal([1600L, 1600, 100, 100, 1600], windows.Select(w => w.Bytes));
        foreach (var window in windows) budget.Close(window);
        Assert.Equal(1600, budget.Open(new CreditWindow()));
    }

    [Fact]
    public void Of_many_windows_that_are_used_none_takes_what_the_others_need()
    {
        var budget = new CreditBudget(Options);
        var windows = Enumerable.Range(0, 64).Select(_ => new CreditWindow()).ToList();
        foreach (var window in windows) budget.Open(window);
        for (var round = 0; round < 100; round++)
            foreach (var window in windows) budget.Processed(window, 50);
        Assert.All(windows, w => Assert.InRange(w.Bytes, 100 + 12_800 / 64 * 3 / 4, 100 + 12_800 / 64 + 100));
    }

    /// <summary>Whatever happens: the sum is bounded, and each can go on.</summary>
    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void All_windows_together_are_bounded_and_each_has_what_it_needs(int seed)
    {
        var (random, budget, windows, credit) = (new Random(seed), new CreditBudget(Options), new List<CreditWindow>(), new Dictionary<CreditWindow, long>());
        for (var step = 0; step < 20_000; step++)
        {
            if (windows.Count == 0 || random.Next(50) == 0)
            {
                windows.Add(new CreditWindow());
                credit[windows[^1]] = budget.Open(windows[^1]);
            }
            else if (random.Next(100) == 0)
            {
                var gone = windows[random.Next(windows.Count)];
                budget.Close(gone);
                Assert.Equal(0, gone.Bytes);
                windows.Remove(gone);
            }
            else
            {
                var window = windows[random.Next(Math.Min(windows.Count, 20))];
                var frame = random.Next(1, 101);
                credit[window] += budget.Processed(window, frame) - frame;
                Assert.Equal(credit[window], window.Bytes);
            }
            Assert.InRange(windows.Sum(w => w.Bytes), 100L * windows.Count, 12_800 + 100L * windows.Count);
            Assert.All(windows, w => Assert.InRange(w.Bytes, 100, 1600));
        }
    }
}
