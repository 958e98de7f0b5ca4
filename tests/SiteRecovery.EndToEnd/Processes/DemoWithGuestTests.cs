using System.Diagnostics;
using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>The demo's story with a machine of QEMU's, as a user runs it.</summary>
[Collection("Guests")]
public sealed class DemoWithGuestTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-demo-vm-");

    [Fact, Trait("Category", "Slow")]
    public async Task The_demo_tells_its_story_with_a_guest_and_exits_0()
    {
        var report = Path.Combine(_folder.FullName, "report.json");
        var (code, said) = await DemoTests.RunAsync("--vm", "--report", report);
        Assert.True(code == 0, said);
        var figures = JsonNode.Parse(await File.ReadAllTextAsync(report))!;
        Assert.True((bool)figures["prefixHolds"]! && (bool)figures["staleCopyRefused"]!, said);
        Assert.Equal(0, (long)figures["failbackWritesLost"]!);
        // On its way home the replica's machine was shut down, not pulled.
        Assert.Contains("stop-source: the machine was shut down through its hypervisor", string.Join(' ', said.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        // The machine of the replica was run, and wrote.
        Assert.All(["machineStarted", "firstRead", "guestUp"], name => Assert.NotNull(figures["rto." + name]));
    }

    [Fact]
    public async Task Without_QEMU_it_says_what_is_missing_and_starts_nothing()
    {
        var (code, said) = await DemoTests.RunAsync(_folder.FullName, ["--vm"]);
        Assert.True(code == 2, said);
        Assert.Contains("qemu-system-x86", said, StringComparison.Ordinal);
        Assert.DoesNotContain("Two sites", said, StringComparison.Ordinal);
    }

    [Fact, Trait("Category", "Slow")]
    public async Task Told_to_end_in_the_middle_it_leaves_neither_machines_nor_a_folder()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "siterecovery.dll"), "demo", "--vm"]) { RedirectStandardOutput = true };
        using var demo = Process.Start(start)!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        try
        {
            await EndsWellAsync(demo, limit.Token);
        }
        finally
        {
            if (!demo.HasExited) demo.Kill(entireProcessTree: true);
        }
    }

    private static async Task EndsWellAsync(Process demo, CancellationToken stop)
    {
        var (folder, said, runs) = ("", new List<string>(), false);
        // Once its RPO is shown the machine runs.
        while (!runs && await demo.StandardOutput.ReadLineAsync(stop) is { } line)
        {
            said.Add(line);
            runs = line.Contains("RPO", StringComparison.Ordinal);
            if (line.Contains("working in ", StringComparison.Ordinal)) folder = line.Trim()["working in ".Length..].Split(',')[0];
        }
        Assert.True(runs, string.Join('\n', said));
        Assert.True(Directory.Exists(folder) && RunningIn(folder) > 0, $"{folder} exists: {Directory.Exists(folder)}");
        DataPlane.Storage.Posix.Terminate(demo.Id);
        await demo.StandardOutput.ReadToEndAsync(stop);
        await demo.WaitForExitAsync(stop);
        Assert.Equal((0, false), (RunningIn(folder), Directory.Exists(folder)));
    }

    /// <summary>A machine's process bears the machine's name.</summary>
    private static int RunningIn(string folder) => Process.GetProcessesByName("db1").Count(p => File.Exists($"/proc/{p.Id}/cmdline") && File.ReadAllText($"/proc/{p.Id}/cmdline").Contains(folder, StringComparison.Ordinal));

    public void Dispose() => _folder.Delete(recursive: true);
}
