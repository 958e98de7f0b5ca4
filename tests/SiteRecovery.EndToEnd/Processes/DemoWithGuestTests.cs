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

    public void Dispose() => _folder.Delete(recursive: true);
}
