namespace SiteRecovery.Node.Demo;

/// <summary>Whether a replica is exactly a prefix of the acknowledged writes.</summary>
/// <param name="Holds">True if the replica equals the disk after its first <paramref name="PrefixLength"/> writes, for one such number.</param>
/// <param name="PrefixLength">How many writes the replica holds; the largest possible where several fit.</param>
/// <param name="LostWrites">Acknowledged writes beyond the prefix.</param>
/// <param name="LostSeconds">Time from the newest write of the prefix to the newest acknowledged write.</param>
/// <param name="Reason">What is wrong, null if nothing is.</param>
public sealed record PrefixVerdict(bool Holds, long PrefixLength, long LostWrites, double LostSeconds, string? Reason)
{
    /// <summary>Read at once: block by block, a busy host takes minutes for the round trips.</summary>
    private const int ChunkBytes = 1 << 20;

    /// <summary>
    /// Reads every block of the replica and looks for the one prefix of the ledger that explains all of them. The writer has one
    /// write in flight, so the write after the last acknowledged one may be there too; it is computed from the seed.
    /// </summary>
    /// <param name="read">Fills a buffer of some blocks of 4 KiB with what the replica has from an offset on.</param>
    /// <param name="workingSetBytes">What the writer wrote to, where it was not the whole disk.</param>
    public static async Task<PrefixVerdict> JudgeAsync(
        IReadOnlyList<LedgerEntry> ledger, int seed, long diskBytes, Func<long, Memory<byte>, Task> read, long? workingSetBytes = null)
    {
        var history = HistoryByBlock(ledger, seed, workingSetBytes ?? diskBytes);
        var chunk = new byte[Math.Min(ChunkBytes, diskBytes)];
        var first = new byte[BlockPattern.BlockBytes];
        long atLeast = 0, atMost = ledger.Count + 1;
        for (long offset = 0; offset < diskBytes; offset += BlockPattern.BlockBytes)
        {
            if (offset % ChunkBytes == 0) await read(offset, chunk.AsMemory(0, (int)Math.Min(ChunkBytes, diskBytes - offset)));
            var block = chunk.AsMemory((int)(offset % ChunkBytes), BlockPattern.BlockBytes);
            var hash = BlockPattern.Hash(block.Span);
            var writes = history.TryGetValue(offset, out var found) ? found : [];
            var index = writes.FindLastIndex(w => w.Hash == hash);
            if (index < 0)
            {
                BlockPattern.Fill(first, seed, 0, offset);
                if (!block.Span.SequenceEqual(first))
                    return Broken(ledger, $"the block at offset {offset} holds what no acknowledged write wrote there");
            }
            else
            {
                atLeast = Math.Max(atLeast, writes[index].Write);
            }
            if (index + 1 < writes.Count) atMost = Math.Min(atMost, writes[index + 1].Write - 1);
            if (atLeast > atMost)
                return Broken(ledger, $"no prefix explains the replica: it holds write {atLeast} but lacks write {atMost + 1} (seen at offset {offset})");
        }
        var length = Math.Min(atMost, Math.Max(atLeast, ledger.Count));
        var lost = Math.Max(0, ledger.Count - length);
        return new PrefixVerdict(true, length, lost, lost == 0 ? 0 : SecondsBeyond(ledger, length), null);
    }

    private static Dictionary<long, List<(long Write, string Hash)>> HistoryByBlock(IReadOnlyList<LedgerEntry> ledger, int seed, long diskBytes)
    {
        var history = new Dictionary<long, List<(long, string)>>();
        foreach (var entry in ledger) Add(entry.Offset, entry.Write, entry.Hash);
        var inFlight = ledger.Count + 1L;
        var at = BlockPattern.OffsetOf(seed, inFlight, diskBytes);
        var block = new byte[BlockPattern.BlockBytes];
        BlockPattern.Fill(block, seed, inFlight, at);
        Add(at, inFlight, BlockPattern.Hash(block));
        return history;

        void Add(long offset, long write, string hash)
        {
            if (!history.TryGetValue(offset, out var list)) history[offset] = list = [];
            list.Add((write, hash));
        }
    }

    private static double SecondsBeyond(IReadOnlyList<LedgerEntry> ledger, long length) =>
        (ledger[^1].AcknowledgedAt - ledger[(int)Math.Clamp(length - 1, 0, ledger.Count - 1)].AcknowledgedAt).TotalSeconds;

    private static PrefixVerdict Broken(IReadOnlyList<LedgerEntry> ledger, string reason) => new(false, 0, ledger.Count, 0, reason);
}
