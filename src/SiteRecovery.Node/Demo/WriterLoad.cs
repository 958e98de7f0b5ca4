using System.Globalization;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>A process that writes blocks to an NBD disk: nothing but the .NET SDK is needed for it.</summary>
internal sealed class WriterLoad(string folder, int seed, string? sabotage, TimeProvider time) : IDemoLoad
{
    internal const long DiskBytes = 128L << 20;
    private ChildProcess? _writer;
    private bool _hasMoved;

    public string Name => "an independent writer";
    public object Source => new { agent = DemoStory.AgentName, disks = new[] { new { id = "vda", path = At("disk.raw"), capture = "nbd" } } };
    public string NodeSettings => "";
    public IReadOnlyList<string> AgentArguments => [];
    public bool HasEnded => _writer is { HasExited: true };
    public long Acknowledged => Ledger.Read(_hasMoved ? SecondLedgerPath : LedgerPath).Count;

    private string LedgerPath => At("ledger.txt");
    private string SecondLedgerPath => At("ledger-secondary.txt");

    /// <summary>The second writer's own, so that a block of the lost tail is never taken for one that was written anew.</summary>
    private int SecondSeed => seed + 1;

    public async Task PrepareAsync(CancellationToken stop)
    {
        await using var file = File.Create(At("disk.raw"));
        var block = new byte[BlockPattern.BlockBytes];
        for (long at = 0; at < DiskBytes; at += block.Length)
        {
            BlockPattern.Fill(block, seed, 0, at);
            await file.WriteAsync(block, stop);
        }
    }

    public async Task StartAsync(string diskUri, CancellationToken stop)
    {
        await File.WriteAllTextAsync(LedgerPath, "", stop);
        Start(diskUri, LedgerPath, seed);
    }

    public async Task<PrefixVerdict> JudgeTestAsync(DemoPlace copy, CancellationToken stop)
    {
        await using var disk = await NbdAddress.Parse(copy.DiskUri).OpenAsync(stop);
        var verdict = await JudgeAsync(disk, Ledger.Read(LedgerPath), stop);
        await disk.WriteAsync(0, new byte[BlockPattern.BlockBytes], forceUnitAccess: true, stop); // the test's own, and gone with it
        return verdict;
    }

    public void Die()
    {
        _writer!.KillHard();
        _writer.Dispose();
        _writer = null;
    }

    public async Task<PrefixVerdict> JudgeReplicaAsync(DemoPlace replica, CancellationToken stop)
    {
        await using var disk = await NbdAddress.Parse(replica.DiskUri).OpenAsync(stop);
        if (sabotage is not null) await Sabotage.DamageAsync(sabotage, disk, Ledger.Read(LedgerPath), seed, stop);
        return await JudgeAsync(disk, Ledger.Read(LedgerPath), stop);
    }

    public async Task GoOnAsync(PrefixVerdict verdict, DemoPlace replica, CancellationToken stop)
    {
        var kept = Ledger.Read(LedgerPath).Take((int)verdict.PrefixLength).ToList();
        // The write that was in flight when the site died may be in the replica, though the writer never heard of it.
        if (kept.Count < verdict.PrefixLength) kept.Add(InFlight(kept.Count + 1));
        await File.WriteAllLinesAsync(SecondLedgerPath, kept.Select(Ledger.Line), stop);
        _hasMoved = true;
        Start(replica.DiskUri, SecondLedgerPath, SecondSeed);
    }

    public Task<string?> TryOldCopyAsync(CancellationToken stop) => Task.FromResult<string?>(null);

    public async Task StopAsync(CancellationToken stop)
    {
        var writer = _writer!;
        _writer = null;
        writer.Stop();
        await writer.WaitAsync(stop);
        writer.Dispose();
    }

    public async Task<PrefixVerdict> JudgeHomeAsync(DemoPlace home, CancellationToken stop)
    {
        await using var disk = await NbdAddress.Parse(home.DiskUri).OpenAsync(stop);
        return await JudgeAsync(disk, Ledger.Read(SecondLedgerPath), stop);
    }

    public ValueTask DisposeAsync()
    {
        _writer?.Dispose();
        return default;
    }

    private Task<PrefixVerdict> JudgeAsync(NbdClient disk, IReadOnlyList<LedgerEntry> ledger, CancellationToken stop) =>
        PrefixVerdict.JudgeAsync(ledger, seed, disk.SizeBytes, (offset, into) => disk.ReadAsync(offset, into, stop));

    private LedgerEntry InFlight(long write)
    {
        var block = new byte[BlockPattern.BlockBytes];
        var offset = BlockPattern.OffsetOf(seed, write, DiskBytes);
        BlockPattern.Fill(block, seed, write, offset);
        return new LedgerEntry(write, offset, BlockPattern.Hash(block), time.GetUtcNow());
    }

    private void Start(string uri, string ledger, int ownSeed) =>
        _writer = ChildProcess.Start("siterecovery", At("writer.log"), "demo-writer", "--uri", uri, "--ledger", ledger,
            "--seed", ownSeed.ToString(CultureInfo.InvariantCulture), "--rate", "1500");

    private string At(string name) => Path.Combine(folder, name);
}
