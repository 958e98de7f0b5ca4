using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <content>How it is asked, and how it is judged.</content>
internal sealed partial class MachineOnTheMove
{
    private Task Begin(string uri, CancellationToken end)
    {
        File.Delete(LedgerPath);
        _segment++;
        File.WriteAllLines(LedgerPath, _ledger.Select(Ledger.Line));
        return LedgerWriter.RunAsync(uri, LedgerPath, Seed, WritesPerSecond, WorkingSetBytes, TimeSpan.FromSeconds(60), TimeProvider.System, end);
    }

    private async Task<PrefixVerdict> JudgeAsync() => await JudgeAsync(await UriAsync(), () => _ledger);

    /// <summary>Anew from the beginning where whoever serves the disk dies over it.</summary>
    private async Task<PrefixVerdict> JudgeAsync(string uri, Func<IReadOnlyList<LedgerEntry>> ledger)
    {
        PrefixVerdict? verdict = null;
        Exception? last = null;
        await UntilAsync($"{uri} to be read", async () =>
        {
            try
            {
                await using var disk = await OpenAsync(uri);
                verdict = await PrefixVerdict.JudgeAsync(ledger(), 0, DiskBytes, (offset, into) => disk.ReadAsync(offset, into, stop), WorkingSetBytes);
                return true;
            }
            catch (IOException down)
            {
                last = down;
                return false;
            }
        }, () => $"{last}");
        return verdict!;
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
            uri = (string?)exports?["items"]?.AsArray().FirstOrDefault(e => e!["test"] is null)?["uri"] ?? (string?)machine?["disks"]?[0]?["captureUri"];
            return uri is not null;
        });
        _uris.Add(uri!);
        return uri!;
    }

    /// <summary>Posted, then something dies and comes back; the job's end.</summary>
    /// <param name="orAlready">A refusal of the action is no news in this state: something else has led to it.</param>
    private async Task<JsonNode> ActAsync(string action, object body, bool dies = true, string? orAlready = null)
    {
        var (step, begun) = (++_steps, TimeProvider.System.GetTimestamp());
        var job = await PostAsync(action, body, orAlready);
        if (job["id"] is null) return job;
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

    private async Task<JsonNode> PostAsync(string action, object body, string? orAlready = null)
    {
        JsonNode? job = null;
        var (key, refusal) = ($"{name}-{_steps}-{Guid.NewGuid():N}", "");
        await UntilAsync($"{action} to be taken", async () =>
        {
            try
            {
                job = await TryAsync(() => action == "disable"
                    ? sites.Admin.DeleteAsync($"/api/v1/machines/{name}?acknowledge=pointsRemoved&acknowledge=replicaReleased&acknowledge=sourceNotFenced", stop)
                    : sites.Admin.PostAsync($"/api/v1/machines/{name}/{action}", body, stop, key));
            }
            catch (InvalidOperationException refused) when (IsRefusal(refused) && (orAlready is not null || UnderChaos))
            {
                refusal = refused.Message;
                if (orAlready is not null && (string?)(await LookAsync())?["state"] == orAlready) job = new JsonObject();
            }
            return job is not null;
        }, () => refusal);
        return job!;
    }

    /// <summary>Not in this state of things.</summary>
    private static bool IsRefusal(InvalidOperationException answer) => answer.Message.Contains(" answered 409", StringComparison.Ordinal) || answer.Message.Contains(" answered 404", StringComparison.Ordinal);

    private async Task<JsonNode?> LookAsync() => await TryAsync(() => sites.Admin.GetAsync($"/api/v1/machines/{name}", stop));

    /// <summary>Null while the cluster is on its way back; what it refuses is thrown.</summary>
    private static async Task<JsonNode?> TryAsync(Func<Task<JsonNode>> ask)
    {
        try
        {
            return await ask();
        }
        catch (Exception down) when (down is HttpRequestException or IOException || (down is InvalidOperationException && IsDown(down.Message)))
        {
            return null;
        }
    }

    /// <summary>Whom it was asked for could not be reached, or not in time; a 500 is the product's own fault.</summary>
    private static bool IsDown(string answer) => Enumerable.Range(502, 3).Any(code => answer.Contains(string.Create(CultureInfo.InvariantCulture, $" answered {code}"), StringComparison.Ordinal));

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
