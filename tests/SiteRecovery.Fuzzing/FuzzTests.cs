using System.Buffers.Binary;
using System.Text;
using SiteRecovery.Fuzzing.Targets;

namespace SiteRecovery.Fuzzing;

public sealed class FuzzTests
{
    private static readonly TimeSpan Each = TimeSpan.FromSeconds(1.2);

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

    [Fact]
    public void An_index_whose_last_frame_reaches_over_its_end_is_made_anew()
    {
        using var target = new StoreFilesTarget();
        var index = target.Seeds().First(s => s.AsSpan(1).StartsWith("SRX1"u8));
        foreach (var left in (int[])[7, 40, 95, 100])
        {
            var cut = index[..^left];
            target.Repair(cut, new Random(1));
            Assert.Null(Fuzzer.Judge(target, cut));
        }
    }

    [Fact]
    public void A_map_is_believed_as_far_as_it_is_long()
    {
        using var target = new StoreFilesTarget();
        var map = target.Seeds().First(s => s.AsSpan(1).StartsWith("SRM1"u8));
        foreach (var blocks in (long[])[-1, int.MaxValue / 16, long.MaxValue])
        {
            var changed = map.ToArray();
            BinaryPrimitives.WriteInt64LittleEndian(changed.AsSpan(1 + 32), blocks);
            target.Repair(changed, new Random(1));
            Assert.Null(Fuzzer.Judge(target, changed));
        }
        var crowded = map.ToArray();
        BinaryPrimitives.WriteUInt32LittleEndian(crowded.AsSpan(1 + 4096 + 4064), 5000);
        target.Repair(crowded, new Random(1));
        Assert.Null(Fuzzer.Judge(target, crowded));
    }

    [Fact]
    public void A_map_whose_extents_overlap_is_made_again()
    {
        using var target = new StoreTarget(encrypted: false);
        foreach (var map in target.Seeds().Where(s => s.AsSpan(1).StartsWith("SRM1"u8)))
        {
            foreach (var (at, value) in ((int, long)[])[(32, 0), (32 + 16, -1), (32 + 16, int.MaxValue), (32 + 24, int.MaxValue), (32, long.MaxValue)])
            {
                var changed = map.ToArray();
                if (at == 32) BinaryPrimitives.WriteInt64LittleEndian(changed.AsSpan(1 + 4096 + at), value);
                else BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(1 + 4096 + at), (int)value);
                target.Repair(changed, new Random(1));
                Assert.Null(Fuzzer.Judge(target, changed));
            }
        }
    }

    /// <summary>What a store keeps as text is numbers for the most part: each of them as another, whatever its checksum says.</summary>
    [Theory]
    [InlineData(".end")]
    [InlineData(".json")]
    public void No_number_that_a_store_keeps_as_text_brings_it_down(string extension)
    {
        using var target = new StoreTarget(encrypted: false);
        foreach (var file in target.Seeds().Where(s => target.PathOf(s).EndsWith(extension, StringComparison.Ordinal)))
            foreach (var changed in Sweep.Texts(target, file))
            {
                var wrong = Fuzzer.Judge(target, changed);
                Assert.True(wrong is null, $"{target.PathOf(file)}: {Encoding.Latin1.GetString(changed)}: {wrong}");
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
