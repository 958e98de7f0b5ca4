using System.Text.RegularExpressions;

namespace SiteRecovery.Domain.Tests;

/// <summary>Style is a failing test.</summary>
public sealed partial class Tidy
{
    private const int FileLinesMax = 500;

    [Fact]
    public void No_source_file_is_longer_than_500_lines() =>
        AssertNone(Repository.SourceFiles("*.cs").Select(p => (p, Lines: File.ReadLines(p).Count()))
            .Where(f => f.Lines > FileLinesMax).Select(f => $"{Repository.Relative(f.p)}: {f.Lines} lines; it is two things"));

    [Fact]
    public void No_type_or_file_hides_behind_a_name_that_says_nothing() =>
        AssertNone(Repository.SourceFiles("*.cs").SelectMany(p => BannedType().Matches(File.ReadAllText(p))
            .Select(m => $"{Repository.Relative(p)}: {m.Groups["name"].Value}")
            .Concat(BannedName().IsMatch(Path.GetFileNameWithoutExtension(p)) ? [Repository.Relative(p)] : [])));

    [Fact]
    public void No_source_file_leaves_work_behind_a_mark() =>
        AssertNone(Repository.SourceFiles("*.cs").SelectMany(p => File.ReadLines(p).Select((text, i) => (text, Line: i + 1))
            .Where(l => Mark().IsMatch(l.text)).Select(l => $"{Repository.Relative(p)}:{l.Line}: {l.text.Trim()}")));

    private static void AssertNone(IEnumerable<string> findings)
    {
        var all = findings.ToArray();
        Assert.True(all.Length == 0, string.Join('\n', all));
    }

    [GeneratedRegex(@"\b(class|record|struct|interface|enum)\s+(struct\s+|class\s+)?(?<name>\w*(Manager|Helper|Helpers|Util|Utils))\b")]
    private static partial Regex BannedType();

    [GeneratedRegex("(Manager|Helper|Helpers|Util|Utils)$")]
    private static partial Regex BannedName();

    // Spelled with a class so that this line is not a finding itself.
    [GeneratedRegex(@"\b(TOD[O]|FIXM[E]|NotImplementedExceptio[n])\b")]
    private static partial Regex Mark();
}
