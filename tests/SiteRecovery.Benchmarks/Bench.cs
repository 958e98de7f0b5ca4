using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>What every room is given: options, a folder with certificates, and where the figures go.</summary>
public sealed class Bench(BenchOptions options) : IDisposable
{
    public BenchOptions Options => options;
    public Measurements Results { get; } = new();
    public Workspace Workspace { get; } = new(options.Folder);

    public string At(string name) => Workspace.At(name);

    /// <summary>The contestants of a round, each round beginning with another one.</summary>
    public static IEnumerable<T> InTurn<T>(IReadOnlyList<T> contestants, int round) => contestants.Select((_, n) => contestants[(n + round) % contestants.Count]);

    public void Dispose() => Workspace.Dispose();
}
