using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation;

/// <summary>Makes of a script that violates an invariant the smallest one that still violates the same: by delta debugging.</summary>
internal static class Shrinking
{
    /// <returns>Null: it violates none.</returns>
    internal static async Task<SimScript?> OfAsync(SimScript script, Action<string> say)
    {
        if ((await Run.OnceAsync(script)) is not ({ } invariant, var line)) return null;
        say($"{script.Steps.Count} steps: {line}");
        async Task<bool> FailsAsync(SimScript candidate) => (await Run.OnceAsync(candidate)).Violated == invariant;
        script = await PlainerAsync(await EarlierAsync(script, FailsAsync), FailsAsync);
        for (var parts = 2; script.Steps.Count > 0;)
        {
            var smaller = await WithoutOneAsync(script, parts, FailsAsync);
            if (smaller is not null) (script, parts) = (smaller, Math.Max(2, parts - 1));
            else if (parts < script.Steps.Count) parts = Math.Min(script.Steps.Count, parts * 2);
            else break;
            say($"{script.Steps.Count} steps, in {parts} parts");
        }
        return await EarlierAsync(script, FailsAsync);
    }

    private static async Task<SimScript?> WithoutOneAsync(SimScript script, int parts, Func<SimScript, Task<bool>> fails)
    {
        var size = Math.Max(1, (script.Steps.Count + parts - 1) / parts);
        for (var from = 0; from < script.Steps.Count; from += size)
        {
            var candidate = script with { Steps = [.. script.Steps.Take(from), .. script.Steps.Skip(from + size)] };
            if (await fails(candidate)) return candidate;
        }
        return null;
    }

    private static async Task<SimScript> PlainerAsync(SimScript script, Func<SimScript, Task<bool>> fails)
    {
        foreach (var candidate in script.Plainer())
            if (await fails(candidate)) return await PlainerAsync(candidate, fails);
        return script;
    }

    /// <summary>What comes after the violation is left out.</summary>
    private static async Task<SimScript> EarlierAsync(SimScript script, Func<SimScript, Task<bool>> fails)
    {
        for (var cut = script.Until / 2; cut >= 500;)
        {
            var until = script.Until - cut;
            var candidate = script with { Until = until, Steps = [.. script.Steps.Where(s => s.At < until)] };
            if (await fails(candidate)) script = candidate;
            else cut /= 2;
            cut = Math.Min(cut, script.Until / 2);
        }
        return script;
    }
}
