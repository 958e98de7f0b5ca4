using System.Globalization;
using System.Text.Json.Nodes;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// Two sites under storms of faults while a machine writes, is tested, moved, lost, taken back and brought home, all from one seed: whatever falls in with
/// whatever, each step ends within a bound, no process ends by itself, and what was acknowledged is there. For about a minute, or for as long as SITERECOVERY_SOAK
/// says (hh:mm:ss); SITERECOVERY_SEED gives the seed.
/// </summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class ChaosTests : IDisposable
{
    private const string ProcessServer = "primary-ps", MasterTarget = "primary-mt", Machine = "db1";
    private const string Settings = "siterecovery.cluster { stable-after = 5s, heartbeat-pause = 4s }";
    private const int SmallDiskMebibytes = 1200;
    /// <summary>What grows for long does not fit in, and ends its process. Beside the heap lie code, stacks, and files that are mapped.</summary>
    private const long HeapBytesMax = 200 << 20, ResidentBytesMax = HeapBytesMax + (256 << 20);
    /// <summary>What is in front of it has been sent long ago, unless the link has been cut for as long.</summary>
    private const long SpoolTailBytes = 64 << 10;
    private static readonly string[] Processes = [SitesUnderTest.Agent, SitesUnderTest.Secondary, ProcessServer, MasterTarget];
    private static readonly TimeSpan Soak = TimeSpan.Parse(Environment.GetEnvironmentVariable("SITERECOVERY_SOAK") is { Length: > 0 } text ? text : "0", CultureInfo.InvariantCulture);
    private static readonly TimeSpan Duration = Soak > TimeSpan.Zero ? Soak : TimeSpan.FromSeconds(30);
    private static readonly ChaosPace Pace = Soak > TimeSpan.Zero
        ? new(TimeSpan.FromSeconds(20), TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(12), TimeSpan.FromSeconds(15), TimeSpan.FromSeconds(60), 0.2)
        : new(TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(8), TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(5), 0.4);
    private readonly CancellationTokenSource _limit = new(Duration + TimeSpan.FromMinutes(15));
    private readonly long _begun = TimeProvider.System.GetTimestamp();
    private readonly ITestOutputHelper _output;
    private readonly int _seed;
    private readonly Random _random;

    public ChaosTests(ITestOutputHelper output)
    {
        _output = output;
        _seed = int.Parse(Environment.GetEnvironmentVariable("SITERECOVERY_SEED") is { Length: > 0 } text ? text : $"{Random.Shared.Next()}", CultureInfo.InvariantCulture);
        _random = new Random(_seed);
    }

    [Fact]
    public async Task Whatever_falls_in_with_whatever_nothing_that_was_acknowledged_is_lost()
    {
        var link = await SiteLink.OpenAsync(Say);
        foreach (var tell in new Action<string>[] { Console.WriteLine, Say }) tell($"chaos: seed {_seed}, {Duration}, {link.Description}");
        await using var sites = new SitesUnderTest(link, Settings, _limit.Token,
            new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, process-server, master-target", Launcher: SmallDisk.Launcher),
            new(ProcessServer, SitesUnderTest.Primary, "process-server"),
            new(MasterTarget, SitesUnderTest.Primary, "master-target", Launcher: SmallDisk.Launcher)) { Patience = TimeSpan.FromMinutes(5), HeapBytesMax = HeapBytesMax };
        await using var atSecondary = await SmallDisk.UnderAsync(sites.At(SitesUnderTest.Secondary + "/master-target"), SmallDiskMebibytes);
        await using var atPrimary = await SmallDisk.UnderAsync(sites.At(MasterTarget + "/master-target"), SmallDiskMebibytes);
        await sites.JoinAsync();
        // As short as it can be: in a soak what is kept must not grow.
        await sites.Admin.PutAsync("/api/v1/policies/chaos", new { recoveryPoints = new { crashConsistentEvery = "2s" }, retention = new { window = "2m" } }, _limit.Token);
        await using var machine = new MachineOnTheMove(sites, Machine, new Random(_seed + 1), (_, _) => null, new Told(Say), _limit.Token)
        {
            Policy = "chaos", UnderChaos = true, WritesPerSecond = 200, PlannedAttempts = 6,
        };
        await machine.ProtectAsync();

        using var faults = new ChaosFaults(sites, Processes, Pace, _seed + 2, Say);
        var samples = new SoakSamples(sites, Processes, Soak > TimeSpan.Zero ? TimeSpan.FromMinutes(1) : TimeSpan.FromSeconds(10), ResidentBytesMax);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
        var (storms, sampling) = (faults.RunAsync(end.Token), samples.RunAsync(end.Token));
        try
        {
            for (var round = 1; TimeProvider.System.GetElapsedTime(_begun) < Duration; round++) await RoundAsync(sites, machine, faults, atSecondary, atPrimary, round);
            Say("the faults end");
        }
        finally
        {
            await end.CancelAsync();
            await storms;
            await sampling;
            await ReportAsync(sites, faults, samples);
        }
        await machine.WellAsync();
        await machine.PointsKeepAsync(null);
        await machine.EqualAsync();
        string[] running = [];
        await sites.UntilAsync("every job to end", async () => (running = [.. (await sites.ItemsAsync("jobs")).Where(j => (string?)j!["status"] is "running" or "queued" or "waiting").Select(j => j!.ToJsonString())]).Length == 0,
            () => string.Join('\n', running));
        foreach (var process in Processes) Assert.DoesNotContain("OutOfMemory", await File.ReadAllTextAsync(sites.At(process + ".log")), StringComparison.Ordinal);
        if (Soak > TimeSpan.Zero) Assert.Empty(samples.Violations());
    }

    /// <summary>The machine is protected, writes, and something is done with it; in the end it is protected again, here or there.</summary>
    private async Task RoundAsync(SitesUnderTest sites, MachineOnTheMove machine, ChaosFaults faults, SmallDisk atSecondary, SmallDisk atPrimary, int round)
    {
        var (source, target, disk) = await machine.TargetSiteAsync() == SitesUnderTest.Secondary ? (ProcessServer, SitesUnderTest.Secondary, atSecondary) : (SitesUnderTest.Secondary, MasterTarget, atPrimary);
        var (beside, then) = (_random.Next(5), (round + _random.Next(2)) % 5);
        Say($"round {round}: {beside switch { 0 => "test", 1 => "rot", 2 => "verify", 3 => "rot of the spool", _ => "write" }}, then {then switch { 0 => "planned, cancelled", 1 => "planned, home", 2 => "lost, home", 3 => "lost, cancelled", _ => "cancelled soon" }}");
        await faults.MayBeFullAsync(disk, target, _limit.Token);
        await machine.WriteAsync(async () =>
        {
            await WriteOnAsync();
            if (beside == 0) await machine.TestAsync();
            else if (beside < 4)
            {
                if (beside == 3) RotOfSpool(Path.Combine(sites.At(source), "process-server", "spool"));
                await machine.PointsKeepAsync(beside == 1 ? RotOfStore(Path.Combine(sites.At(target), "master-target", "stores", Machine)) : null);
            }
            await WriteOnAsync();
        });
        await faults.MayBeFullAsync(null, "", _limit.Token);
        switch (then)
        {
            case 0:
                await machine.PlannedAsync();
                await machine.WriteAsync(WriteOnAsync);
                await machine.CancelAsync();
                break;
            case 1:
                await machine.PlannedAsync();
                await HomeAsync(machine);
                break;
            case 2:
                await machine.LostAsync();
                await HomeAsync(machine);
                break;
            case 3:
                await machine.LostAsync();
                await machine.CancelAsync();
                break;
            default:
                await machine.CancelSoonAsync();
                break;
        }
    }

    private async Task HomeAsync(MachineOnTheMove machine)
    {
        await machine.CommitAsync();
        await machine.WriteAsync(WriteOnAsync);
        await machine.ReverseAsync();
    }

    private Task WriteOnAsync() => Task.Delay(Pace.WriteLeast / 2 + _random.NextDouble() * (Pace.WriteMost - Pace.WriteLeast) / 2, _limit.Token);

    /// <summary>One bit somewhere in a file of the store that is complete; null where there is none yet.</summary>
    private string? RotOfStore(string store)
    {
        var segments = Directory.GetFiles(Path.Combine(store, "log"), "*.seg").Order(StringComparer.Ordinal).SkipLast(1);
        return Rot([.. segments, .. segments.Select(s => Path.ChangeExtension(s, ".map")).Where(File.Exists), .. Directory.Exists(Path.Combine(store, "base")) ? Directory.GetFiles(Path.Combine(store, "base")) : []]);
    }

    /// <summary>One bit of what waits for the link, or did so just now: the source is to send it again, and the target never gets to see it.</summary>
    private void RotOfSpool(string spool) => Rot([.. Directory.GetFiles(spool, $"{Machine}~*.seg").Order(StringComparer.Ordinal).TakeLast(1)], SpoolTailBytes);

    /// <param name="tailBytes">Only so many of a file's last bytes.</param>
    private string? Rot(string[] files, long tailBytes = long.MaxValue)
    {
        if (files.Length == 0) return null;
        var path = files[_random.Next(files.Length)];
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            if (file.Length == 0) return null;
            var at = file.Position = file.Length - 1 - _random.NextInt64(Math.Min(file.Length, tailBytes));
            var was = file.ReadByte();
            file.Position = at;
            file.WriteByte((byte)(was ^ (1 << _random.Next(8))));
            Say($"rot: {Path.GetFileName(path)} at {at}");
            return Path.GetFileName(path);
        }
        catch (FileNotFoundException)
        {
            return null; // given up by the retention, or sent, just now
        }
    }

    private async Task ReportAsync(SitesUnderTest sites, ChaosFaults faults, SoakSamples samples)
    {
        Say(string.Join(", ", faults.Counts.Select(c => $"{c.Value} × {c.Key}")));
        foreach (var line in samples.Report()) _output.WriteLine(line);
        await File.WriteAllLinesAsync(sites.At("soak.txt"), [$"seed {_seed}, {Duration}", .. faults.Counts.Select(c => $"{c.Value} × {c.Key}"), .. samples.Report(), .. samples.Violations()]);
        if (Soak > TimeSpan.Zero) File.Copy(sites.At("soak.txt"), Path.Combine(Path.GetTempPath(), $"siterecovery-soak-{_seed}.txt"), overwrite: true);
    }

    private void Say(string what)
    {
        var line = string.Create(CultureInfo.InvariantCulture, $"{TimeProvider.System.GetElapsedTime(_begun):hh\\:mm\\:ss} {what}");
        _output.WriteLine(line);
        if (Soak > TimeSpan.Zero) Console.WriteLine(line);
    }

    /// <summary>Passes on what the machine says, with the time.</summary>
    private sealed class Told(Action<string> say) : ITestOutputHelper
    {
        public void WriteLine(string message) => say(message);

        public void WriteLine(string format, params object[] args) => say(string.Format(CultureInfo.InvariantCulture, format, args));
    }

    public void Dispose() => _limit.Dispose();
}
