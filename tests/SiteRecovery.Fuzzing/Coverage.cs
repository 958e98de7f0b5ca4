using System.Runtime.InteropServices;

namespace SiteRecovery.Fuzzing;

/// <summary>
/// Which branches of the instrumented assemblies an input took, and how often in eight classes of counts, as AFL has it. The counters are SharpFuzz's; where nothing is
/// instrumented they stay zero, and every input is news once in a while.
/// </summary>
internal sealed unsafe class Coverage
{
    private const int MapBytes = 1 << 16;
    // As long as the process: whoever still runs counts into it, and what is instrumented counts from its first line on.
    private readonly byte* _counters = SharpFuzz.Common.Trace.SharedMem = (byte*)NativeMemory.AllocZeroed(MapBytes);
    private readonly byte[] _seen = new byte[MapBytes];

    internal int Branches { get; private set; }

    internal void Begin()
    {
        new Span<byte>(_counters, MapBytes).Clear();
        SharpFuzz.Common.Trace.PrevLocation = 0;
    }

    /// <summary>Whether the input did what none did before.</summary>
    internal bool End()
    {
        var news = false;
        var words = new ReadOnlySpan<ulong>(_counters, MapBytes / 8);
        for (var word = words.IndexOfAnyExcept(0UL); word >= 0; word = Next(words, word + 1))
            for (var at = word * 8; at < word * 8 + 8; at++)
            {
                var classes = ClassOf(_counters[at]);
                if ((classes & ~_seen[at]) == 0) continue;
                if (_seen[at] == 0) Branches++;
                _seen[at] |= classes;
                news = true;
            }
        return news;
    }

    private static int Next(ReadOnlySpan<ulong> words, int from) => words[from..].IndexOfAnyExcept(0UL) is >= 0 and var found ? from + found : -1;

    private static byte ClassOf(byte count) => count switch { 0 => 0, 1 => 1, 2 => 2, 3 => 4, < 8 => 8, < 16 => 16, < 32 => 32, < 128 => 64, _ => 128 };
}
