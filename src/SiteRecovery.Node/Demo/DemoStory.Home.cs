namespace SiteRecovery.Node.Demo;

/// <content>The way home: the machine goes on at the secondary, is replicated back by a delta, and is moved back with nothing lost.</content>
public sealed partial class DemoStory
{
    private string SecondLedgerPath => At("ledger-secondary.txt");

    /// <summary>The second writer's own, so that a block of the lost tail is never taken for one that was written anew.</summary>
    private int SecondSeed => options.Seed + 1;

    private async Task GoOnAtTheSecondaryAsync(PrefixVerdict verdict, CancellationToken stop)
    {
        screen.Step("The machine goes on at the secondary: the writer writes to the replica");
        var kept = Ledger.Read(LedgerPath).Take((int)verdict.PrefixLength).ToList();
        // The write that was in flight when the site died may be in the replica, though the writer never heard of it.
        if (kept.Count < verdict.PrefixLength) kept.Add(InFlight(kept.Count + 1));
        await File.WriteAllLinesAsync(SecondLedgerPath, kept.Select(Ledger.Line), stop);
        StartWriter(await ExportAsync(stop), SecondLedgerPath, SecondSeed);
        await UntilAsync("the writer to go on", () => Task.FromResult(Ledger.Read(SecondLedgerPath).Count > kept.Count + 1000), stop);
        screen.Say($"{Ledger.Read(SecondLedgerPath).Count - kept.Count} writes acknowledged there so far");
    }

    private LedgerEntry InFlight(long write)
    {
        var block = new byte[BlockPattern.BlockBytes];
        var offset = BlockPattern.OffsetOf(options.Seed, write, DiskBytes);
        BlockPattern.Fill(block, options.Seed, write, offset);
        return new LedgerEntry(write, offset, BlockPattern.Hash(block), time.GetUtcNow());
    }

    private async Task<bool> ComeHomeAsync(CancellationToken stop)
    {
        await ReverseAsync(stop);
        await StopWriterAsync(stop);
        screen.Step("Failback: a planned failover the other way, which loses nothing");
        var begun = time.GetTimestamp();
        var acknowledge = new { acknowledge = new[] { "machineStops" } };
        var job = await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/planned-failover", acknowledge, stop), stop);
        _figures["failbackSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        screen.Say(job["steps"]!.AsArray().Single(s => s!["name"]!.GetValue<string>() == "verify-target")!["detail"]!.GetValue<string>());
        var ledger = Ledger.Read(SecondLedgerPath);
        PrefixVerdict verdict;
        await using (var home = await NbdAddress.Parse(await ExportAsync(stop)).OpenAsync(stop))
            verdict = await PrefixVerdict.JudgeAsync(ledger, options.Seed, home.SizeBytes, (offset, into) => home.ReadAsync(offset, into, stop));
        var holds = verdict.Holds && verdict.PrefixLength == ledger.Count;
        screen.Say(holds ? $"the disk at the primary is all {ledger.Count} writes: none lost" : $"NOT what was written: {verdict.Reason ?? $"{verdict.LostWrites} writes are lost"}");
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/commit", new { }, stop), stop);
        (_figures["failbackWrites"], _figures["failbackWritesLost"]) = (ledger.Count, verdict.LostWrites);
        return holds;
    }

    private async Task ReverseAsync(CancellationToken stop)
    {
        screen.Step("Reverse replication: only what was written on either side since the failover goes back");
        var begun = time.GetTimestamp();
        var job = await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/reverse-replicate", new { }, stop), stop);
        foreach (var step in job["steps"]!.AsArray())
            if (step!["detail"] is { } detail) screen.Say($"{step["name"]}: {detail}");
        var machine = await MachineAsync(stop);
        var sent = machine["replication"]!["bytesSent"]!.GetValue<long>();
        (_figures["reverseSeconds"], _figures["reverseBytes"]) = (time.GetElapsedTime(begun).TotalSeconds, sent);
        screen.Say($"protected {machine["direction"]}: {sent >> 20} MiB of {DiskBytes >> 20} MiB sent");
    }

    private async Task StopWriterAsync(CancellationToken stop)
    {
        screen.Step("The machine is shut down for its move");
        _processes.Remove("writer", out var writer);
        writer!.Stop();
        await writer.WaitAsync(stop);
        writer.Dispose();
    }

    private async Task<string> ExportAsync(CancellationToken stop) =>
        (await _secondary.GetAsync($"/api/v1/machines/{Machine}/exports", stop))["items"]![0]!["uri"]!.GetValue<string>();
}
