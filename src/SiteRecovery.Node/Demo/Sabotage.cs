using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>Damages a replica on purpose: the demo's verdict has to see it.</summary>
public static class Sabotage
{
    /// <param name="how">"flip" one byte of a block, or "drop" one acknowledged write as if it had never arrived.</param>
    public static async Task DamageAsync(string how, NbdClient replica, IReadOnlyList<LedgerEntry> ledger, int seed, CancellationToken stop)
    {
        var overwritten = new HashSet<long>();
        // From the middle backwards: a write that is long in the replica and that no later one has overwritten.
        foreach (var entry in ledger.Skip(ledger.Count / 2)) overwritten.Add(entry.Offset);
        var victim = ledger.Take(ledger.Count / 2).Last(e => !overwritten.Contains(e.Offset));
        var block = new byte[BlockPattern.BlockBytes];
        if (how == "flip")
        {
            await replica.ReadAsync(victim.Offset, block, stop);
            block[^1] ^= 1;
        }
        else
        {
            var before = ledger.Take((int)victim.Write - 1).LastOrDefault(e => e.Offset == victim.Offset);
            BlockPattern.Fill(block, seed, before?.Write ?? 0, victim.Offset);
        }
        await replica.WriteAsync(victim.Offset, block, forceUnitAccess: false, stop);
    }
}
