using System.Globalization;

namespace SiteRecovery.Node.Demo;

/// <summary>One acknowledged write: its number (1, 2, 3 …), where it went, and the SHA-256 of what it wrote.</summary>
public sealed record LedgerEntry(long Write, long Offset, string Hash, DateTimeOffset AcknowledgedAt);

/// <summary>The writer's own record of what was acknowledged to it, outside SiteRecovery: one text line per write.</summary>
public static class Ledger
{
    public static string Line(LedgerEntry entry) =>
        string.Create(CultureInfo.InvariantCulture, $"{entry.Write} {entry.Offset} {entry.Hash} {entry.AcknowledgedAt.ToUnixTimeMilliseconds()}");

    /// <summary>All whole lines; a half-written last line belongs to a writer that was killed and counts as not acknowledged.</summary>
    public static IReadOnlyList<LedgerEntry> Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        var text = reader.ReadToEnd();
        var whole = text.LastIndexOf('\n');
        if (whole < 0) return [];
        var entries = new List<LedgerEntry>();
        foreach (var line in text[..whole].Split('\n'))
        {
            var fields = line.Split(' ');
            entries.Add(new LedgerEntry(long.Parse(fields[0], CultureInfo.InvariantCulture), long.Parse(fields[1], CultureInfo.InvariantCulture), fields[2],
                DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(fields[3], CultureInfo.InvariantCulture))));
        }
        return entries;
    }
}
