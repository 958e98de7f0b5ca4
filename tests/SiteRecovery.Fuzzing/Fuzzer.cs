namespace SiteRecovery.Fuzzing;

/// <param name="Found">What was wrong, one input for each place where it was; the key is the place.</param>
internal sealed record FuzzOutcome(string Target, int Seed, long Inputs, TimeSpan Took, int Kept, int Branches, IReadOnlyDictionary<string, (string What, byte[] Input)> Found)
{
    public override string ToString() => string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"{Target,-12} seed {Seed,10}  {Inputs,11:N0} inputs  {Inputs / Math.Max(0.001, Took.TotalSeconds),8:N0}/s  {Kept,5} kept  {Branches,6} branches  {(Found.Count == 0 ? "nothing" : $"{Found.Count}")} found");
}

/// <summary>Feeds a target with changed inputs for a time, and keeps those that led somewhere new.</summary>
internal sealed class Fuzzer(FuzzTarget target, Coverage coverage, CurrentInput current)
{
    /// <summary>A reader that needs longer hangs, as far as anybody can tell; the machine may be busy.</summary>
    internal static readonly TimeSpan InputPatience = TimeSpan.FromSeconds(20);
    private const int KeptMax = 8192;
    private const int FoundMax = 16;
    private readonly List<byte[]> _corpus = [];
    private readonly Dictionary<string, (string What, byte[] Input)> _found = new(StringComparer.Ordinal);

    internal FuzzOutcome Run(TimeSpan time, int seed)
    {
        var random = new Random(seed);
        var mutator = new Mutator(random, target);
        var (begun, inputs) = (TimeProvider.System.GetTimestamp(), 0L);
        foreach (var sample in target.Seeds())
        {
            _corpus.Add(sample);
            inputs++;
            TakesNewWay(sample);
        }
        while (TimeProvider.System.GetElapsedTime(begun) < time && _found.Count < FoundMax)
            for (var turn = 0; turn < 64; turn++)
            {
                // The newest lead farther, more often than not.
                var from = _corpus[random.Next(3) == 0 ? random.Next(_corpus.Count) : _corpus.Count - 1 - random.Next(1 + random.Next(_corpus.Count))];
                var input = mutator.Mutate(from, _corpus[random.Next(_corpus.Count)]);
                inputs++;
                if (!TakesNewWay(input)) continue;
                if (_corpus.Count < KeptMax) _corpus.Add(input);
                else _corpus[random.Next(_corpus.Count)] = input;
            }
        return new(target.Name, seed, inputs, TimeProvider.System.GetElapsedTime(begun), _corpus.Count, coverage.Branches, _found);
    }

    private bool TakesNewWay(byte[] input)
    {
        current.Set(input);
        coverage.Begin();
        var found = Judge(target, input);
        var news = coverage.End();
        if (found is not null) _found.TryAdd(PlaceOf(found), (found, input));
        return news && found is null;
    }

    /// <summary>The kind of what was thrown, and the innermost method of ours that it came through.</summary>
    internal static string PlaceOf(string found)
    {
        var lines = found.Split('\n');
        var kind = lines[0].Split(':')[0];
        return kind.Contains("Exception", StringComparison.Ordinal) ? $"{kind} {lines.FirstOrDefault(l => l.TrimStart().StartsWith("at SiteRecovery", StringComparison.Ordinal))?.Split('(')[0].Trim()}" : "allocation";
    }

    /// <summary>What is wrong with how the target takes an input; null: nothing.</summary>
    internal static string? Judge(FuzzTarget target, byte[] input)
    {
        var before = Allocated(target);
        try
        {
            target.Run(input);
        }
        catch (Exception refusal) when (target.Expects(refusal))
        {
            // That is how it refuses.
        }
        catch (Exception unexpected)
        {
            return unexpected.ToString();
        }
        var allocated = Allocated(target) - before;
        return allocated <= target.AllocatedMax(input.Length) ? null : $"{allocated} bytes were allocated for an input of {input.Length}; the bound is {target.AllocatedMax(input.Length)}";
    }

    private static long Allocated(FuzzTarget target) => target.AllocatesElsewhere ? GC.GetTotalAllocatedBytes() : GC.GetAllocatedBytesForCurrentThread();
}
