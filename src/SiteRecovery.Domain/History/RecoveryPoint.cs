using System.Globalization;

namespace SiteRecovery.Domain.History;

public enum PointKind { CrashConsistent = 1, ApplicationConsistent = 2 }

/// <summary>A marked position in a machine's history. Its id, "e1-s42", is derived, so that a store alone can name it.</summary>
/// <param name="At">Source clock, UTC.</param>
public sealed record RecoveryPoint(Epoch Epoch, Sequence Sequence, DateTimeOffset At, PointKind Kind, string? Label = null)
{
    public string Id => IdOf(Epoch, Sequence);

    public static string IdOf(Epoch epoch, Sequence sequence) =>
        string.Create(CultureInfo.InvariantCulture, $"e{epoch.Value}-s{sequence.Value}");

    public static bool TryParseId(string text, out Epoch epoch, out Sequence sequence)
    {
        (epoch, sequence) = (default, default);
        var parts = text.Split("-s");
        if (parts.Length != 2 || parts[0].Length < 2 || parts[0][0] != 'e') return false;
        if (!int.TryParse(parts[0].AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out var e)) return false;
        if (!long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var s)) return false;
        (epoch, sequence) = (new Epoch(e), new Sequence(s));
        return true;
    }
}

/// <summary>What an operator asks for: the newest point, an id, or the newest point not after a time.</summary>
public abstract record PointSelector
{
    private PointSelector() { }
    public sealed record Latest : PointSelector;
    public sealed record LatestApplicationConsistent : PointSelector;
    public sealed record ById(string Id) : PointSelector;
    public sealed record AtTime(DateTimeOffset Time) : PointSelector;

    /// <summary>Reads "latest", "latest-application-consistent", "e1-s42" or "at:2026-01-31T03:00:00Z"; null if it is none of them.</summary>
    public static PointSelector? Parse(string text) => text switch
    {
        "latest" => new Latest(),
        "latest-application-consistent" => new LatestApplicationConsistent(),
        _ when text.StartsWith("at:", StringComparison.Ordinal) && DateTimeOffset.TryParse(
            text.AsSpan(3), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) => new AtTime(time),
        _ when RecoveryPoint.TryParseId(text, out _, out _) => new ById(text),
        _ => null,
    };

    /// <summary>The point chosen out of <paramref name="points"/> (ordered by epoch and sequence), or null.</summary>
    public RecoveryPoint? Choose(IReadOnlyList<RecoveryPoint> points) => this switch
    {
        Latest => points.LastOrDefault(),
        LatestApplicationConsistent => points.LastOrDefault(p => p.Kind == PointKind.ApplicationConsistent),
        ById byId => points.FirstOrDefault(p => p.Id == byId.Id),
        AtTime at => points.LastOrDefault(p => p.At <= at.Time),
        _ => throw new System.Diagnostics.UnreachableException(),
    };
}
