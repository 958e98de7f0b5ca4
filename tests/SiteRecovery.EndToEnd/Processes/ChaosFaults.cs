using System.Globalization;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// Storms of faults from a seed, with calm between them: processes die or stand still and come back, the link is cut in any way, loses packets or is slow, the target's disk
/// is full. How they fall in with what is done meanwhile is the machine's, so a seed tells the faults again and not the run.
/// </summary>
internal sealed class ChaosFaults(SitesUnderTest sites, string[] processes, ChaosPace pace, int seed, Action<string> say) : IDisposable
{
    private readonly Random _random = new(seed);
    private readonly SemaphoreSlim _full = new(1);
    private SmallDisk? _mayBeFull;
    private string _writerOfIt = "";

    internal SortedDictionary<string, int> Counts { get; } = new(StringComparer.Ordinal);

    /// <summary>From now on this disk may be full at times, for nothing but a store is written to it; null: none may, and none is any more.</summary>
    internal async Task MayBeFullAsync(SmallDisk? disk, string writer, CancellationToken stop)
    {
        await _full.WaitAsync(stop);
        (_mayBeFull, _writerOfIt) = (disk, writer);
        _full.Release();
    }

    internal async Task RunAsync(CancellationToken stop)
    {
        try
        {
            while (true)
            {
                await WaitAsync(pace.CalmLeast, pace.CalmMost, stop);
                for (var left = _random.Next(1, 4); left > 0; left--)
                {
                    await OneAsync(stop);
                    await WaitAsync(TimeSpan.Zero, TimeSpan.FromSeconds(2), stop);
                }
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // What was under way has been mended.
        }
    }

    private Task OneAsync(CancellationToken stop) => _random.NextDouble() < pace.ShareOfKills ? KillAsync(stop) : _random.Next(5) switch
    {
        0 => FullAsync(stop),
        1 or 2 => StandStillAsync(stop),
        _ => CutAsync(stop),
    };

    private async Task KillAsync(CancellationToken stop)
    {
        var victims = _random.GetItems(processes, _random.Next(1, 3)).Distinct().ToArray();
        Say("kill", string.Join('+', victims));
        sites.Kill(victims);
        try
        {
            // Back at once, or after the split-brain resolver has acted.
            await WaitAsync(TimeSpan.Zero, _random.Next(4) == 0 ? TimeSpan.FromSeconds(13) : TimeSpan.FromSeconds(1), stop);
        }
        finally
        {
            foreach (var victim in victims) sites.Start(victim);
        }
    }

    private async Task StandStillAsync(CancellationToken stop)
    {
        var victim = processes[_random.Next(processes.Length)];
        var id = sites.ProcessIdOf(victim);
        Say("stand still", victim);
        await HostProgram.RunAsync("kill", ["-STOP", $"{id}"]);
        try
        {
            await WaitAsync(TimeSpan.FromMilliseconds(200), pace.FaultMost, stop);
        }
        finally
        {
            await HostProgram.RunAsync("kill", ["-CONT", $"{id}"]);
        }
    }

    private async Task CutAsync(CancellationToken stop)
    {
        try
        {
            if (sites.Link is NamespaceLink link && _random.Next(2) == 0) await ImpairAsync(link);
            else await CutAsync(_random.Next(3), _random.Next(3) switch { 0 => "cluster", 1 => "data", _ => null });
            await WaitAsync(TimeSpan.FromMilliseconds(200), pace.FaultMost, stop);
        }
        finally
        {
            await sites.Link.HealAsync();
        }
    }

    private Task CutAsync(int ways, string? only)
    {
        Say(ways == 0 ? "cut" : "one-way cut", $"{(ways == 1 ? "not heard at the primary" : ways == 2 ? "not heard at the secondary" : "")} {only}");
        return sites.Link.CutAsync(toSecondary: ways != 1, toPrimary: ways != 2, only);
    }

    /// <summary>What only a link with packets can suffer.</summary>
    private Task ImpairAsync(NamespaceLink link)
    {
        switch (_random.Next(4))
        {
            case 0:
                var percent = _random.Next(2, 31);
                Say("packet loss", $"{percent} %");
                return link.LoseAsync(percent);
            case 1:
                Say("slow link", "both ways");
                return link.SlowAsync();
            default:
                var end = _random.Next(2) == 0 ? SitesUnderTest.Primary : SitesUnderTest.Secondary;
                Say("link down", $"at the {end}");
                return link.DownAsync(end);
        }
    }

    private async Task FullAsync(CancellationToken stop)
    {
        await _full.WaitAsync(stop);
        try
        {
            if (_mayBeFull is not { } disk) return;
            Say("full disk", _writerOfIt);
            var writer = sites.ProcessIdOf(_writerOfIt);
            await disk.FillAsync(writer);
            try
            {
                await WaitAsync(TimeSpan.FromSeconds(1), pace.FaultMost, stop);
            }
            finally
            {
                await disk.MakeRoomAsync(writer);
            }
        }
        finally
        {
            _full.Release();
        }
    }

    private Task WaitAsync(TimeSpan least, TimeSpan most, CancellationToken stop) => Task.Delay(least + _random.NextDouble() * (most - least), stop);

    private void Say(string kind, string what)
    {
        Counts[kind] = Counts.GetValueOrDefault(kind) + 1;
        say(string.Create(CultureInfo.InvariantCulture, $"{kind}: {what}"));
    }

    public void Dispose() => _full.Dispose();
}

/// <summary>How fast it goes.</summary>
/// <param name="ShareOfKills">Fewer in a soak: what grows in a process is seen only while it lives.</param>
internal sealed record ChaosPace(TimeSpan CalmLeast, TimeSpan CalmMost, TimeSpan FaultMost, TimeSpan WriteLeast, TimeSpan WriteMost, double ShareOfKills);
