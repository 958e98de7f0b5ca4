using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>How long the writer waited, as its ledger tells it.</summary>
internal static class LedgerWaits
{
    /// <summary>Longest time between two acknowledgements, ms, from an entry on: no write of the writer's one in flight waited longer.</summary>
    internal static double Longest(IReadOnlyList<LedgerEntry> ledger, int from)
    {
        var longest = 0.0;
        for (var i = Math.Max(1, from); i < ledger.Count; i++) longest = Math.Max(longest, (ledger[i].AcknowledgedAt - ledger[i - 1].AcknowledgedAt).TotalMilliseconds);
        return longest;
    }
}
