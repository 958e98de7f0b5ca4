namespace SiteRecovery.Benchmarks;

/// <summary>An agent's and a receiver's process, warmed up: services run for months, so what the first second costs is no figure.</summary>
public sealed class Site : IAsyncDisposable
{
    private readonly Bench _bench;

    private Site(Bench bench, Role receiver, Role agent) => (_bench, Receiver, Agent) = (bench, receiver, agent);

    public Role Receiver { get; }
    public Role Agent { get; }
    public double CpuSeconds => Agent.CpuSeconds + Receiver.CpuSeconds;

    public static async Task<Site> StartAsync(Bench bench, string compression = "Zstd")
    {
        var receiver = await Role.StartAsync("receiver", "--root", bench.At("stores"), "--identity", bench.At("target"), "--compression", compression);
        var port = await receiver.AskAsync("port");
        var agent = await Role.StartAsync("agent", "--socket", bench.At("agent.sock"), "--port", port, "--identity", bench.At("agent"));
        var site = new Site(bench, receiver, agent);
        if (!File.Exists(bench.At("warm"))) Node.Bench.SampleDisk.Create(bench.At("warm"), 192 << 20, 7);
        await site.ProtectAsync("warm", bench.At("warm"));
        await agent.AskAsync("close", "warm");
        return site;
    }

    /// <summary>Into an empty store, until a point is durable there.</summary>
    public async Task ProtectAsync(string name, string disk)
    {
        await Agent.AskAsync("capture", name, disk, _bench.At("capture-" + name));
        await Agent.AskAsync("synchronize", name);
        await Receiver.AskAsync("point", name);
    }

    public async ValueTask DisposeAsync()
    {
        await Agent.DisposeAsync();
        await Receiver.DisposeAsync();
        Directory.Delete(_bench.At("stores"), recursive: true);
        foreach (var state in Directory.GetDirectories(_bench.Workspace.Root, "capture-*")) Directory.Delete(state, recursive: true);
    }
}
