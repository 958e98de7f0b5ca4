using System.Globalization;
using System.Text.RegularExpressions;

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
public abstract partial record PointSelector
{
    private PointSelector() { }
    public sealed record Latest : PointSelector;
    public sealed record LatestApplicationConsistent : PointSelector;
    public sealed record ById(string Id) : PointSelector;
    public sealed record AtTime(DateTimeOffset Time) : PointSelector
    {
        /// <summary>Nobody can have seen the machine at that time yet: it was meant in another zone, or mistyped.</summary>
        /// <param name="newest">Of the store: a source whose clock is ahead has points that are, too. Null: it has none.</param>
        public bool IsAhead(DateTimeOffset now, RecoveryPoint? newest) => Time - now > ClockAllowance && !(Time <= newest?.At);
    }

    private const string TimePrefix = "at:";
    /// <summary>What can be given, for whoever gave something else.</summary>
    public const string Forms = "latest, latest-application-consistent, an id such as e1-s42, or at: and a time as RFC 3339 has it, such as at:2026-01-31T03:00:00Z or at:2026-01-31T04:00:00+01:00";
    /// <summary>Whoever says "now" may have a clock that is ahead by so much.</summary>
    public static TimeSpan ClockAllowance { get; } = TimeSpan.FromMinutes(1);

    /// <summary>Reads "latest", "latest-application-consistent", "e1-s42" or "at:2026-01-31T03:00:00Z"; null if it is none of them.</summary>
    public static PointSelector? Parse(string text) => text switch
    {
        "latest" => new Latest(),
        "latest-application-consistent" => new LatestApplicationConsistent(),
        _ when text.StartsWith(TimePrefix, StringComparison.Ordinal) => ParseTime(text[TimePrefix.Length..]) is { } time ? new AtTime(time) : null,
        _ when RecoveryPoint.TryParseId(text, out _, out _) => new ById(text),
        _ => null,
    };

    /// <summary>Reads a time of RFC 3339, or a part of one that leaves no doubt: seconds, time of day and zone may be left out. Without a zone it is UTC. Null: it is none, or one that may be read in several ways.</summary>
    public static DateTimeOffset? ParseTime(string text) =>
        TimeForm().IsMatch(text) && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    /// <summary>Of what is read: whether it is a time that leaves its zone to be guessed.</summary>
    public static bool IsTimeWithoutZone(string text) => text.StartsWith(TimePrefix, StringComparison.Ordinal) && TimeForm().Match(text[TimePrefix.Length..]) is { Success: true } found && !found.Groups["zone"].Success;

    /// <summary>The point chosen out of <paramref name="points"/> (ordered by epoch and sequence), or null.</summary>
    public RecoveryPoint? Choose(IReadOnlyList<RecoveryPoint> points) => this switch
    {
        Latest => points.LastOrDefault(),
        LatestApplicationConsistent => points.LastOrDefault(p => p.Kind == PointKind.ApplicationConsistent),
        ById byId => points.FirstOrDefault(p => p.Id == byId.Id),
        AtTime at => points.LastOrDefault(p => p.At <= at.Time),
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    [GeneratedRegex(@"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(?<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?\z", RegexOptions.CultureInvariant)]
    private static partial Regex TimeForm();
}
