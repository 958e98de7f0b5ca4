using System.Globalization;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>What the replica's disks hold against what the guest had acknowledged.</summary>
/// <param name="Reason">Why the replica is no prefix, or less than its point promised; null if all holds.</param>
/// <param name="Kept">Records that every disk of the replica holds.</param>
/// <param name="Lost">Acknowledged records that it does not.</param>
/// <param name="OldestLost">Age, at the site's death, of the oldest acknowledged record lost; zero if none is.</param>
/// <param name="ReportedRpo">Age, at the site's death, of the point.</param>
internal sealed record GuestVerdict(string? Reason, long Kept, long Lost, TimeSpan OldestLost, TimeSpan ReportedRpo)
{
    internal const string TableHead = "round   kept   lost  oldest lost ms  reported RPO ms";

    /// <param name="disks">In the guest's order: a record reaches a disk only after it is durable on the one before.</param>
    internal static GuestVerdict Judge(IReadOnlyList<Acknowledgement> ledger, IReadOnlyList<GuestRecords> disks, DateTimeOffset point, DateTimeOffset death)
    {
        var kept = disks.Min(d => d.Count);
        var missing = ledger.Where(a => a.Number > kept).ToArray();
        var oldest = missing.Length == 0 ? TimeSpan.Zero : death - missing[0].HeardAt;
        return new GuestVerdict(WhatIsWrong(disks, missing, point), kept, missing.Length, oldest > TimeSpan.Zero ? oldest : TimeSpan.Zero, death - point);
    }

    internal string Row(int round) => string.Create(CultureInfo.InvariantCulture,
        $"{round,5}  {Kept,5}  {Lost,5}  {OldestLost.TotalMilliseconds,14:F1}  {ReportedRpo.TotalMilliseconds,15:F1}{(Reason is null ? "" : "  " + Reason)}");

    private static string? WhatIsWrong(IReadOnlyList<GuestRecords> disks, Acknowledgement[] missing, DateTimeOffset point)
    {
        for (var i = 0; i < disks.Count; i++)
        {
            if (disks[i].Problem is { } problem) return $"disk {i}: {problem}";
            if (i > 0 && disks[i].Count > disks[i - 1].Count) return $"disk {i} holds record {disks[i].Count}, which disk {i - 1} got before and does not hold";
        }
        if (disks[0].Count - disks[^1].Count > 1) return $"the disks are of different moments: {string.Join(", ", disks.Select(d => d.Count))} records";
        return missing.FirstOrDefault(m => m.HeardAt < point) is { } broken
            ? $"record {broken.Number} was acknowledged {(point - broken.HeardAt).TotalMilliseconds:F1} ms before the point's time and is missing"
            : null;
    }
}
