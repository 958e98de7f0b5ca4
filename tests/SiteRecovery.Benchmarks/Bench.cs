using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>What every room is given: options, a folder with certificates, and where the figures go.</summary>
public sealed class Bench : IDisposable
{
    public Bench(BenchOptions options)
    {
        (Options, Workspace) = (options, new Workspace(options.Folder));
        Report = new StoreReport(Results);
    }

    public BenchOptions Options { get; }
    public Measurements Results { get; } = new();
    public StoreReport Report { get; }
    public Workspace Workspace { get; }

    public string At(string name) => Workspace.At(name);

    /// <summary>The contestants of a round, each round beginning with another one.</summary>
    public static IEnumerable<T> InTurn<T>(IReadOnlyList<T> contestants, int round) => contestants.Select((_, n) => contestants[(n + round) % contestants.Count]);

    public void Dispose() => Workspace.Dispose();
}
