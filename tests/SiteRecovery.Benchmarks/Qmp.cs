using System.Diagnostics;
using System.Text.Json.Nodes;

namespace SiteRecovery.Benchmarks;

/// <summary>A program that speaks QEMU's machine protocol on its standard input and output.</summary>
public sealed class Qmp(Process process) : IAsyncDisposable
{
    // An event may come before the answer to the command that causes it.
    private readonly List<JsonNode> _events = [];

    public int Id => process.Id;

    public static async Task<Qmp> StartAsync(string[] arguments, CancellationToken stop)
    {
        var qmp = new Qmp(Tool.Start("qemu-storage-daemon", [.. arguments, "--chardev", "stdio,id=control", "--monitor", "control"]));
        await qmp.UntilAsync(answer => answer["QMP"] is not null, stop); // its greeting
        await qmp.AskAsync("qmp_capabilities", [], stop);
        return qmp;
    }

    /// <exception cref="InvalidOperationException">It refused; the message holds why.</exception>
    public async Task AskAsync(string command, JsonObject arguments, CancellationToken stop)
    {
        await process.StandardInput.WriteLineAsync(new JsonObject { ["execute"] = command, ["arguments"] = arguments }.ToJsonString().AsMemory(), stop);
        await process.StandardInput.FlushAsync(stop);
        var answer = await UntilAsync(a => a["return"] is not null || a["error"] is not null, stop);
        if (answer["error"] is { } error) throw new InvalidOperationException($"{command}: {error["desc"]}");
    }

    /// <summary>Waits for an event; <paramref name="holds"/> is given its data. Those that came before it are forgotten.</summary>
    public async Task EventAsync(string name, Func<JsonNode, bool> holds, CancellationToken stop)
    {
        bool Wanted(JsonNode a) => (string?)a["event"] == name && holds(a["data"]!);
        if (!_events.Exists(Wanted)) await UntilAsync(Wanted, stop);
        _events.Clear();
    }

    private async Task<JsonNode> UntilAsync(Func<JsonNode, bool> wanted, CancellationToken stop)
    {
        while (await process.StandardOutput.ReadLineAsync(stop) is { } line)
        {
            if (JsonNode.Parse(line) is not { } answer) continue;
            if (wanted(answer)) return answer;
            if (answer["event"] is not null) _events.Add(answer);
        }
        throw new InvalidOperationException("qemu-storage-daemon ended: " + await process.StandardError.ReadToEndAsync(stop));
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited) process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
    }
}
