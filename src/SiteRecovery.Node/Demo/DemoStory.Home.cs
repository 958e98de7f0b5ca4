namespace SiteRecovery.Node.Demo;

/// <content>The way home: the machine goes on at the secondary, is replicated back by a delta, and is moved back with nothing lost.</content>
public sealed partial class DemoStory
{
    private async Task GoOnAtTheSecondaryAsync(PrefixVerdict verdict, CancellationToken stop)
    {
        screen.Step("The machine goes on at the secondary: the replica is written to");
        await load.GoOnAsync(verdict, await PlaceAsync(stop), stop);
        await UntilAsync("it to go on", () => Task.FromResult(load.Acknowledged > verdict.PrefixLength + 1000), stop);
        screen.Say($"{load.Acknowledged - verdict.PrefixLength} writes acknowledged there so far");
    }

    private async Task<bool> ComeHomeAsync(CancellationToken stop)
    {
        await ReverseAsync(stop);
        await load.StopAsync(stop);
        screen.Step("Failback: a planned failover the other way, which loses nothing");
        var begun = time.GetTimestamp();
        var acknowledge = new { acknowledge = new[] { "machineStops" } };
        var job = await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/planned-failover", acknowledge, stop), stop);
        _figures["failbackSeconds"] = time.GetElapsedTime(begun).TotalSeconds;
        foreach (var step in job["steps"]!.AsArray().Where(s => s!["name"]!.GetValue<string>() is "stop-source" or "verify-target")) screen.Say($"{step!["name"]}: {step["detail"]}");
        var verdict = await load.JudgeHomeAsync(await PlaceAsync(stop), stop);
        var holds = verdict is { Holds: true, LostWrites: 0 };
        screen.Say(holds ? $"the disk at the primary is all {verdict.PrefixLength} writes: none lost" : $"NOT what was written: {verdict.Reason ?? $"{verdict.LostWrites} writes are lost"}");
        await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/commit", new { }, stop), stop);
        (_figures["failbackWrites"], _figures["failbackWritesLost"]) = (verdict.PrefixLength, verdict.LostWrites);
        return holds;
    }

    private async Task ReverseAsync(CancellationToken stop)
    {
        screen.Step("Reverse replication: only what was written on either side since the failover goes back");
        // Its store is ordered of a member by name.
        await UntilAsync("the primary site's master target to be a member again", async () =>
            (await _secondary.GetAsync("/api/v1/nodes", stop))["items"]!.AsArray().Any(n => n is { } node && node["name"] is not null && node["site"]!.GetValue<string>() == "primary" && node["reachable"]!.GetValue<bool>()), stop);
        var begun = time.GetTimestamp();
        var job = await _secondary.FinishAsync(await _secondary.PostAsync($"/api/v1/machines/{Machine}/reverse-replicate", new { }, stop), stop);
        foreach (var step in job["steps"]!.AsArray())
            if (step!["detail"] is { } detail) screen.Say($"{step["name"]}: {detail}");
        var machine = await MachineAsync(stop);
        var sent = machine["replication"]!["bytesSent"]!.GetValue<long>();
        (_figures["reverseSeconds"], _figures["reverseBytes"]) = (time.GetElapsedTime(begun).TotalSeconds, sent);
        screen.Say($"protected {machine["direction"]}: {sent >> 20} MiB of {machine["disks"]![0]!["sizeBytes"]!.GetValue<long>() >> 20} MiB sent");
    }

    private async Task<string> ExportAsync(CancellationToken stop) =>
        (await _secondary.GetAsync($"/api/v1/machines/{Machine}/exports", stop))["items"]![0]!["uri"]!.GetValue<string>();

    /// <summary>Where the machine is now.</summary>
    private async Task<DemoPlace> PlaceAsync(CancellationToken stop) => new(await ExportAsync(stop), (await MachineAsync(stop))["console"]?.GetValue<string>());
}
