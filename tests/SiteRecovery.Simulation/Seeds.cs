using System.Globalization;

namespace SiteRecovery.Simulation;

/// <summary>
/// Seeds that nobody has tried: as many as a few seconds allow, or as SITERECOVERY_STORE_SEEDS says, from SITERECOVERY_STORE_SEED on. A failure names its seed.
/// </summary>
internal static class Seeds
{
    internal static void Try(TimeSpan time, Action<int> run)
    {
        var wanted = Number("SITERECOVERY_STORE_SEEDS") ?? int.MaxValue;
        var (began, first) = (TimeProvider.System.GetTimestamp(), Number("SITERECOVERY_STORE_SEED") ?? Random.Shared.Next(1 << 30));
        for (var seed = first; seed < first + (long)wanted; seed++)
        {
            try
            {
                run(seed);
            }
            catch (Exception failed)
            {
                throw new InvalidOperationException($"seed {seed}, after {seed - first} others", failed);
            }
            if (wanted == int.MaxValue && TimeProvider.System.GetElapsedTime(began) > time) break;
        }
        Console.WriteLine($"seeds from {first} on");
    }

    private static int? Number(string name) => int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
