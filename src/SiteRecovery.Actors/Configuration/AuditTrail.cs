using System.Collections.Immutable;
using System.Globalization;

namespace SiteRecovery.Actors.Configuration;

/// <summary>
/// Who did what, as far back as is kept. What was refused is kept apart from the rest: anybody with any token can be refused as often as he likes, and must not push out by it what was done.
/// </summary>
public sealed record AuditTrail
{
    /// <summary>Entries of each of the two.</summary>
    public const int EachMax = 1000;
    /// <summary>Of each of an entry's texts: a path may have thousands of characters, and all entries together are one answer.</summary>
    private const int TextMax = 256;

    public static AuditTrail Empty { get; } = new();

    private ImmutableQueue<Numbered> Done { get; init; } = [];
    private ImmutableQueue<Numbered> Refused { get; init; } = [];
    private int DoneCount { get; init; }
    private int RefusedCount { get; init; }
    private long Number { get; init; }

    private readonly record struct Numbered(long Number, AuditEntry Entry);

    public IEnumerable<AuditEntry> NewestFirst => Done.Concat(Refused).OrderByDescending(e => e.Number).Select(e => e.Entry);

    public AuditTrail Add(AuditEntry entry)
    {
        var next = new Numbered(Number, entry with { By = Short(entry.By), Action = Short(entry.Action), Subject = Short(entry.Subject), Outcome = Short(entry.Outcome) });
        var after = this with { Number = Number + 1 };
        return IsRefusal(entry)
            ? after with { Refused = Kept(Refused, RefusedCount, next), RefusedCount = Math.Min(EachMax, RefusedCount + 1) }
            : after with { Done = Kept(Done, DoneCount, next), DoneCount = Math.Min(EachMax, DoneCount + 1) };
    }

    private static ImmutableQueue<Numbered> Kept(ImmutableQueue<Numbered> queue, int count, Numbered next) => (count < EachMax ? queue : queue.Dequeue()).Enqueue(next);

    /// <summary>Status codes of requests that changed nothing. Where one ended without an answer, or with a server's error, nobody knows.</summary>
    private static bool IsRefusal(AuditEntry entry) => int.TryParse(entry.Outcome, NumberStyles.None, CultureInfo.InvariantCulture, out var status) && status is >= 400 and < 500;

    private static string Short(string text) => text.Length <= TextMax ? text : text[..(TextMax - 1)] + "…";
}
