using System.IO.Hashing;
using System.Text;

namespace SiteRecovery.Simulation.World;

/// <summary>A hash over everything that every disk was asked, and when: two runs that did the same have the same.</summary>
internal sealed class SimTrace(SimClock clock)
{
    private readonly XxHash64 _hash = new();

    internal ulong Hash => _hash.GetCurrentHashAsUInt64();

    internal void Add(SimIo io) => _hash.Append(Encoding.UTF8.GetBytes($"{clock.Elapsed.Ticks} {io}\n"));
}
