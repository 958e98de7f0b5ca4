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
internal sealed class MachineOnTheMove(
    SitesUnderTest sites, string name, Random random, Func<string, int, string[]?> kills, ITestOutputHelper output, CancellationToken stop) : IAsyncDisposable
{
    private const long DiskBytes = 24L << 20, WorkingSetBytes = 8L << 20;
    private const int WritesPerSecond = 1000;
    private static readonly string[] Acknowledge = ["machineStops", "sourceReachable", "sourceUnreachable", "olderPoint", "replicaWritesLost"];
    private readonly HashSet<string> _uris = [];
    private readonly CancellationTokenSource _probesEnd = CancellationTokenSource.CreateLinkedTokenSource(stop);
    private List<LedgerEntry> _ledger = [];
    /// <summary>What the machine had when it was failed over, for a cancel.</summary>
    private List<LedgerEntry> _atFork = [];
    private Task _probing = Task.CompletedTask;
    private string? _violation;
    private volatile bool _probe;
    private int _segment, _steps;

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
            name, vault = "vault-1", policy = "default", source = new { agent = "agent-1", disks = new[] { new { id = "vda", path = disk, capture = "nbd" } } },
        }, stop);
        await StateAsync("protect", "Protected");
        _probe = true;
        _probing = Task.Run(ProbeAsync, stop);
    }

    /// <summary>To whichever disk is the machine's own, for a moment; then the machine is shut down.</summary>
    public async Task WriteAsync()
    {
        await EqualAsync();
        using var end = new CancellationTokenSource();
        var writing = Begin(await UriAsync(), end.Token);
        await Task.Delay(random.Next(200, 900), stop);
        await end.CancelAsync();
        await writing;
        _ledger = [.. Ledger.Read(LedgerPath)];
    }

    public async Task PlannedAsync()
    {
        _atFork = _ledger;
        for (var attempt = 1; ; attempt++)
        {
            var job = await ActAsync("planned-failover", new { patience = "60s", acknowledge = Acknowledge }, dies: attempt == 1);
            if (await StateAsync("planned-failover", "FailoverCommitPending", "Protected") == "FailoverCommitPending") break;
            Assert.True(attempt < 3, $"{name}: a planned failover does not succeed: {job.ToJsonString()}");
            await EqualAsync();
        }
        await EqualAsync();
    }

    public async Task CancelAsync()
    {
        await ActAsync("cancel-failover", new { acknowledge = Acknowledge });
        await StateAsync("cancel-failover", "Protected");
        _ledger = _atFork;
        await EqualAsync();
    }

    /// <summary>Cancelled on its way, before or after its epoch was opened.</summary>
    public async Task CancelSoonAsync()
    {
        await PostAsync("planned-failover", new { patience = "60s", acknowledge = Acknowledge });
        await Task.Delay(random.Next(0, 1500), stop);
        _atFork = _ledger;
        await CancelAsync();
    }

    /// <summary>Under a running writer; what the point does not have is lost, and no more.</summary>
    public async Task LostAsync()
    {
        _probe = false; // until the source has heard of it there are two
        using var end = new CancellationTokenSource();
        var writing = Begin(await UriAsync(), end.Token);
        await Task.Delay(random.Next(300, 1000), stop);
        _atFork = _ledger;
        var point = (await sites.Admin.PostAsync($"/api/v1/machines/{name}/unplanned-failover?dryRun=true", new { point = "latest" }, stop))["point"]!;
        var at = DateTimeOffset.Parse((string)point["at"]!, CultureInfo.InvariantCulture);
        await ActAsync("unplanned-failover", new { point = (string)point["id"]!, acknowledge = Acknowledge });
        await StateAsync("unplanned-failover", "FailoverCommitPending");
        await UntilAsync("the fence", async () => (bool?)(await LookAsync())?["sourceFenced"] == true);
        await end.CancelAsync();
        await writing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _probe = true;

        var written = Ledger.Read(LedgerPath);
        var offset = BlockPattern.OffsetOf(Seed, written.Count + 1, WorkingSetBytes);
        var block = new byte[BlockPattern.BlockBytes];
        BlockPattern.Fill(block, Seed, written.Count + 1, offset);
        _ledger = [.. written, new LedgerEntry(written.Count + 1, offset, BlockPattern.Hash(block), TimeProvider.System.GetUtcNow())];
        var verdict = await JudgeAsync();
        Assert.True(verdict.Holds, $"{name}, after the loss of the source: {verdict}");
        var promised = written.Count(w => w.AcknowledgedAt.AddMilliseconds(1) < at);
        output.WriteLine($"{name}: {verdict.PrefixLength} of {written.Count} writes; promised {promised}");
        Assert.True(verdict.PrefixLength >= promised, $"{name}: the replica has {verdict.PrefixLength} writes, but {promised} were acknowledged before its point");
        _ledger = [.. _ledger.Take((int)verdict.PrefixLength)];
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

    private Task Begin(string uri, CancellationToken end)
    {
        _segment++;
        File.WriteAllLines(LedgerPath, _ledger.Select(Ledger.Line));
        return LedgerWriter.RunAsync(uri, LedgerPath, Seed, WritesPerSecond, WorkingSetBytes, TimeSpan.FromSeconds(60), TimeProvider.System, end);
    }

    private async Task<PrefixVerdict> JudgeAsync()
    {
        await using var disk = await OpenAsync(await UriAsync());
        return await PrefixVerdict.JudgeAsync(_ledger, 0, DiskBytes, (offset, into) => disk.ReadAsync(offset, into, stop), WorkingSetBytes);
    }

    private async Task<NbdClient> OpenAsync(string uri)
    {
        NbdClient? opened = null;
        await UntilAsync($"{uri} to be served", async () =>
        {
            try
            {
                opened = await NbdAddress.Parse(uri).OpenAsync(stop);
                return true;
            }
            catch (Exception down) when (down is IOException or SocketException)
            {
                return false;
            }
        });
        return opened!;
    }

    /// <summary>Where the machine's own disk is now.</summary>
    private async Task<string> UriAsync()
    {
        string? uri = null;
        await UntilAsync("the machine's disk", async () =>
        {
            var machine = await LookAsync();
            var exports = machine is null ? null : await TryAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}/exports", stop));
            uri = (string?)exports?["items"]?.AsArray().FirstOrDefault()?["uri"] ?? (string?)machine?["disks"]?[0]?["captureUri"];
            return uri is not null;
        });
        _uris.Add(uri!);
        return uri!;
    }

    /// <summary>Posted, then something dies and comes back; the job's end.</summary>
    private async Task<JsonNode> ActAsync(string action, object body, bool dies = true)
    {
        var (step, begun) = (++_steps, TimeProvider.System.GetTimestamp());
        var job = await PostAsync(action, body);
        var died = new List<string>();
        for (var victims = dies ? kills(action, step) : null; victims is not null; victims = Rounds.Wanted(1) > 1 && random.Next(3) == 0 ? kills(action, random.Next(100)) : null)
        {
            var after = random.Next(4) == 0 ? 0 : random.Next(0, 1500);
            await Task.Delay(after, stop);
            sites.Kill(victims);
            // In a long run also until the split-brain resolver has acted.
            await Task.Delay(random.Next(0, Rounds.Wanted(1) > 1 && random.Next(4) == 0 ? 13000 : 1000), stop);
            foreach (var victim in victims) sites.Start(victim);
            died.Add(string.Create(CultureInfo.InvariantCulture, $"{string.Join('+', victims)} after {after} ms"));
        }
        var id = (string)job["id"]!;
        await UntilAsync($"{action} to end", async () => (job = await TryAsync(() => sites.Admin.GetAsync($"/api/v1/jobs/{id}", stop)) ?? job)["status"]!.GetValue<string>() is "succeeded" or "succeededWithWarnings" or "failed" or "cancelled", () => job.ToJsonString());
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{name} {step,2} {action,-20} {string.Join(", ", died),-38} {(string)job["status"]!,-10} {TimeProvider.System.GetElapsedTime(begun).TotalSeconds:F1} s {(string?)job["error"]}"));
        if (TimeProvider.System.GetElapsedTime(begun) > TimeSpan.FromSeconds(20)) output.WriteLine(job.ToJsonString());
        return job;
    }

    private async Task<JsonNode> PostAsync(string action, object body)
    {
        JsonNode? job = null;
        await UntilAsync($"{action} to be taken", async () => (job = await TryAsync(() => action == "disable"
            ? sites.Admin.DeleteAsync($"/api/v1/machines/{name}?acknowledge=pointsRemoved&acknowledge=replicaReleased&acknowledge=sourceNotFenced", stop)
            : sites.Admin.PostAsync($"/api/v1/machines/{name}/{action}", body, stop))) is not null);
        return job!;
    }

    private async Task<JsonNode?> LookAsync() => await TryAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}", stop));

    /// <summary>Null while the cluster is on its way back; what it refuses is thrown.</summary>
    private static async Task<JsonNode?> TryAsync(Func<Task<JsonNode>> ask)
    {
        try
        {
            return await ask();
        }
        catch (Exception down) when (down is HttpRequestException or IOException || (down is InvalidOperationException && down.Message.Contains(" answered 50", StringComparison.Ordinal)))
        {
            return null;
        }
    }

    private async Task<string> StateAsync(string what, params string[] states)
    {
        JsonNode? seen = null;
        await UntilAsync($"{name} to be {string.Join(" or ", states)} after {what}", async () =>
        {
            seen = await LookAsync() ?? seen;
            return states.Contains((string?)seen?["state"]);
        }, () => $"{seen}");
        return (string)seen!["state"]!;
    }

    private Task UntilAsync(string what, Func<Task<bool>> holds, Func<string>? state = null) => sites.UntilAsync($"{what} ({name})", async () =>
    {
        if (_violation is { } found) throw new InvalidOperationException(found);
        return await holds();
    }, state);

    /// <summary>
    /// Writes to one copy after the other what is there already. A copy that took a write before and after another one took one took writes beside it:
    /// no action turns the direction twice in so short a time.
    /// </summary>
    private async Task ProbeAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(400));
        while (await timer.WaitForNextTickAsync(_probesEnd.Token))
        {
            var uris = _uris.ToArray();
            foreach (var one in uris)
                foreach (var other in uris)
                    if (one != other && _probe && await TakesWritesAsync(one) && await TakesWritesAsync(other) && await TakesWritesAsync(one) && _probe)
                        _violation ??= $"both {one} and {other} take writes, in step {_steps}: {await LookAsync()}";
        }
    }

    private Task<bool> TakesWritesAsync(string uri) => CopyProbe.TakesWritesAsync(uri, DiskBytes, _probesEnd.Token);

    public async ValueTask DisposeAsync()
    {
        await _probesEnd.CancelAsync();
        await _probing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _probesEnd.Dispose();
    }
}
