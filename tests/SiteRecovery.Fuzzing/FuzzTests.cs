namespace SiteRecovery.Fuzzing;

public sealed class FuzzTests
{
    private static readonly TimeSpan Each = TimeSpan.FromSeconds(2);

    public static TheoryData<string> Targets => [.. AllTargets.Names];

    /// <summary>Kept/TARGET/…: what was found once, with its story in Kept/README.md.</summary>
    [Theory, MemberData(nameof(Targets))]
    public void What_was_found_once_is_not_found_again(string name)
    {
        var folder = Path.Combine(AppContext.BaseDirectory, "Kept", name);
        if (!Directory.Exists(folder)) return;
        using var target = AllTargets.Of(name);
        foreach (var file in Directory.GetFiles(folder).Order(StringComparer.Ordinal))
        {
            var found = Fuzzer.Judge(target, File.ReadAllBytes(file));
            Assert.True(found is null, $"{Path.GetFileName(file)}: {found}");
        }
    }

    /// <summary>Some seconds of inputs that nobody has tried; a long run is the command in README.md.</summary>
    [Fact]
    public void Nothing_that_reads_bytes_is_brought_down_by_them()
    {
        var seed = Random.Shared.Next();
        Console.WriteLine($"fuzzing: seed {seed}");
        using var programs = InstrumentedPrograms.Make();
        var said = new List<string>();
        var found = AllTargets.Names.Where(target => !programs.Fuzz(target, Each, seed, said.Add)).ToArray();
        Assert.True(found.Length == 0, string.Join('\n', said));
    }
}
