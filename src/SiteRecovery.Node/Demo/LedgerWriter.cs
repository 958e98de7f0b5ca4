namespace SiteRecovery.Node.Demo;

/// <summary>
/// The independent writer: one write after another to an NBD disk, each noted in the ledger after it was acknowledged and before
/// the next begins. It knows nothing of SiteRecovery but the address of the disk. Where the connection breaks, it makes a new one and
/// issues the same write again, as a guest does.
/// </summary>
public static class LedgerWriter
{
    /// <param name="workingSetBytes">Only the first so many bytes are written to; 0: the whole disk.</param>
    /// <param name="reconnectDelay">How long a broken connection is tried to be made again before the writer gives up.</param>
    public static async Task<int> RunAsync(
        string uri, string ledgerPath, int seed, int writesPerSecond, long workingSetBytes, TimeSpan reconnectDelay, TimeProvider time, CancellationToken stop)
    {
        await using var disk = new ReconnectingDisk(NbdAddress.Parse(uri), reconnectDelay, time);
        var sizeBytes = await disk.OpenAsync(stop);
        if (workingSetBytes > 0) sizeBytes = Math.Min(sizeBytes, workingSetBytes);
        await using var ledger = new StreamWriter(new FileStream(ledgerPath, FileMode.Append, FileAccess.Write, FileShare.Read)) { AutoFlush = false };
        var block = new byte[BlockPattern.BlockBytes];
        var begun = time.GetTimestamp();
        long first = Ledger.Read(ledgerPath).Count + 1;
        for (var write = first; !stop.IsCancellationRequested; write++)
        {
            var due = TimeSpan.FromSeconds((double)(write - first) / writesPerSecond) - time.GetElapsedTime(begun);
            if (due > TimeSpan.FromMilliseconds(1)) await Task.Delay(due, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (stop.IsCancellationRequested) break;
            var offset = BlockPattern.OffsetOf(seed, write, sizeBytes);
            BlockPattern.Fill(block, seed, write, offset);
            await disk.WriteAsync(offset, block);
            await ledger.WriteLineAsync(Ledger.Line(new LedgerEntry(write, offset, BlockPattern.Hash(block), time.GetUtcNow())));
            await ledger.FlushAsync(CancellationToken.None);
        }
        return 0;
    }
}
