using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>One machine, its ledger, and what is done to it while something dies.</summary>
/// <param name="kills">What dies over an action, by its name and number; null: nothing.</param>
internal sealed partial class MachineOnTheMove(
    SitesUnderTest sites, string name, Random random, Func<string, int, string[]?> kills, ITestOutputHelper output, CancellationToken stop) : IAsyncDisposable
{
    private const long DiskBytes = 24L << 20, WorkingSetBytes = 8L << 20;
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost"];
    private readonly HashSet<string> _uris = [];
    private readonly CancellationTokenSource _probesEnd = CancellationTokenSource.CreateLinkedTokenSource(stop);
    private List<LedgerEntry> _ledger = [];
    /// <summary>What the machine had when it was failed over, for a cancel.</summary>
    private List<LedgerEntry> _atFork = [];
    /// <summary>So many of them were acknowledged; the last one may have been on its way.</summary>
    private int _acknowledgedAtFork;
    private Task _probing = Task.CompletedTask;
    private string? _violation;
    private volatile bool _probe;
    private int _segment, _steps;

    internal int WritesPerSecond { get; init; } = 1000;
    internal string Policy { get; init; } = "default";
    /// <summary>How often a planned failover may be rolled back before it has to succeed.</summary>
    internal int PlannedAttempts { get; init; } = 3;
    private string LedgerPath => sites.At($"{name}-{_segment}.ledger");
    private int Seed => 1000 * _segment + 7;

    public async Task ProtectAsync()
    {
        var disk = sites.At(name + ".raw");
        await using (var file = File.Create(disk))
        {
            var block = new byte[BlockPattern.BlockBytes];
            for (long at = 0; at < DiskBytes; at += block.Length)
            {
                BlockPattern.Fill(block, 0, 0, at);
                await file.WriteAsync(block, stop);
            }
        }
        await sites.Admin.PostAsync("/api/v1/machines", new
        {
            name, vault = "vault-1", policy = Policy, source = new { agent = "agent-1", disks = new[] { new { id = "vda", path = disk, capture = "nbd" } } },
        }, stop);
        await StateAsync("protect", "Protected");
        _probe = true;
        _probing = Task.Run(ProbeAsync, stop);
    }

    /// <summary>To whichever disk is the machine's own, for a moment; then the machine is shut down.</summary>
    public Task WriteAsync() => WriteAsync(() => Task.Delay(random.Next(200, 900), stop));

    /// <summary>The same, for as long as something else takes.</summary>
    public async Task WriteAsync(Func<Task> meanwhile)
    {
        await EqualAsync();
        using var end = new CancellationTokenSource();
        var writing = Begin(await UriAsync(), end.Token);
        await meanwhile();
        await end.CancelAsync();
        await writing;
        _ledger = [.. Ledger.Read(LedgerPath)];
    }

    public async Task PlannedAsync()
    {
        Fork(_ledger, _ledger.Count);
        for (var attempt = 1; ; attempt++)
        {
            var job = await ActAsync("planned-failover", new { patience = "60s", acknowledge = Acknowledge }, dies: attempt == 1);
            if (await StateAsync("planned-failover", "FailoverCommitPending", "Protected") == "FailoverCommitPending") break;
            Assert.True(attempt < PlannedAttempts, $"{name}: a planned failover does not succeed: {job.ToJsonString()}");
            await EqualAsync();
        }
        await EqualAsync();
    }

    public async Task CancelAsync()
    {
        await ActAsync("cancel-failover", new { acknowledge = Acknowledge }, orAlready: "Protected");
        await StateAsync("cancel-failover", "Protected");
        _ledger = _atFork;
        var verdict = await JudgeAsync();
        Assert.True(verdict.Holds && verdict.PrefixLength >= _acknowledgedAtFork, $"{name}, step {_steps}: {verdict}; {_acknowledgedAtFork} were acknowledged\n{await LookAsync()}");
        _ledger = [.. _ledger.Take((int)verdict.PrefixLength)];
        await EqualAsync();
        // A source that was held takes writes again when its agent hears of it, which may have died, or be cut off.
        await UntilAsync("its source to take writes again", async () => await TakesWritesAsync(await UriAsync()));
    }

    private void Fork(List<LedgerEntry> written, int acknowledged) => (_atFork, _acknowledgedAtFork) = (written, acknowledged);

    /// <summary>Cancelled on its way, before or after its epoch was opened.</summary>
    public async Task CancelSoonAsync()
    {
        await PostAsync("planned-failover", new { patience = "60s", acknowledge = Acknowledge });
        await Task.Delay(random.Next(0, 1500), stop);
        Fork(_ledger, _ledger.Count);
        await CancelAsync();
    }

    /// <summary>Under a running writer; what the point does not have is lost, and no more.</summary>
    public async Task LostAsync()
    {
        _probe = false; // until the source has heard of it there are two
        using var end = new CancellationTokenSource();
        var writing = Begin(await UriAsync(), end.Token);
        await Task.Delay(random.Next(300, 1000), stop);
        var point = await LatestAsync("unplanned-failover");
        await ActAsync("unplanned-failover", new { point = point.Id, acknowledge = Acknowledge });
        await StateAsync("unplanned-failover", "FailoverCommitPending");
        await UntilAsync("the fence", async () => (bool?)(await LookAsync())?["sourceFenced"] == true);
        await end.CancelAsync();
        await writing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _probe = true;

        var written = Ledger.Read(LedgerPath);
        _ledger = WithTheNext(written);
        Fork(_ledger, written.Count);
        var verdict = await JudgeAsync();
        Assert.True(verdict.Holds, $"{name}, after the loss of the source: {verdict}");
        KeepsWhatWasPromised(verdict, written, point.At);
        _ledger = [.. _ledger.Take((int)verdict.PrefixLength)];
    }

    private async Task<(string Id, DateTimeOffset At)> LatestAsync(string action)
    {
        var point = (await PostAsync(action + "?dryRun=true", new { point = "latest" }))["point"]!;
        return ((string)point["id"]!, DateTimeOffset.Parse((string)point["at"]!, CultureInfo.InvariantCulture));
    }

    private void KeepsWhatWasPromised(PrefixVerdict verdict, IReadOnlyList<LedgerEntry> written, DateTimeOffset point)
    {
        var promised = written.Count(w => w.AcknowledgedAt.AddMilliseconds(1) < point);
        output.WriteLine($"{name}: {verdict.PrefixLength} of {written.Count} writes; promised {promised}");
        Assert.True(verdict.PrefixLength >= promised, $"{name}: the replica has {verdict.PrefixLength} writes, but {promised} were acknowledged before its point");
    }

    /// <summary>The write that was on its way may be there too.</summary>
    private List<LedgerEntry> WithTheNext(IReadOnlyList<LedgerEntry> written)
    {
        var offset = BlockPattern.OffsetOf(Seed, written.Count + 1, WorkingSetBytes);
        var block = new byte[BlockPattern.BlockBytes];
        BlockPattern.Fill(block, Seed, written.Count + 1, offset);
        return [.. written, new LedgerEntry(written.Count + 1, offset, BlockPattern.Hash(block), TimeProvider.System.GetUtcNow())];
    }

    public async Task CommitAsync()
    {
        await ActAsync("commit", new { }, dies: false);
        await StateAsync("commit", "FailedOver");
    }

    public async Task ReverseAsync()
    {
        await ActAsync("reverse-replicate", new { });
        await StateAsync("reverse-replicate", "Protected");
        await EqualAsync();
    }

    /// <summary>Its protection ends where it is: what is left is a raw file with all that was acknowledged.</summary>
    public async Task ReleaseAsync()
    {
        await EqualAsync();
        await UntilAsync("its disks to be flat", async () => (await TryAsync(() => sites.Admin.GetAsync($"/api/v1/jobs?machine={name}", stop)))?["items"]!.AsArray()
            .FirstOrDefault(j => (string)j!["action"]! == "flatten") is { } flatten && (string)flatten["status"]! == "succeeded");
        _probe = false; // a probe has the disks open
        var job = await ActAsync("disable", new { });
        Assert.True((string)job["status"]! is "succeeded" or "succeededWithWarnings", job.ToJsonString());
        var folder = ((string)job["steps"]!.AsArray().Single(s => (string)s!["name"]! == "release-replica")!["detail"]!).Split(' ')[^1];
        await using var file = File.OpenRead(Path.Combine(folder, "disk-0.raw"));
        Assert.Equal(DiskBytes, file.Length);
        var verdict = await PrefixVerdict.JudgeAsync(_ledger, 0, DiskBytes, (offset, into) =>
        {
            file.Position = offset;
            return file.ReadExactlyAsync(into, stop).AsTask();
        }, WorkingSetBytes);
        Assert.True(verdict.Holds && verdict.PrefixLength >= _ledger.Count, $"{name}: {verdict} in {folder}; {_ledger.Count} were acknowledged");
    }

    /// <summary>The machine's own disk is exactly what was acknowledged.</summary>
    public async Task EqualAsync()
    {
        var verdict = await JudgeAsync();
        Assert.True(verdict.Holds && verdict.PrefixLength >= _ledger.Count, $"{name}, step {_steps}: {verdict}; {_ledger.Count} were acknowledged\n{await LookAsync()}");
        Assert.Null(_violation);
    }
}
