using System.Globalization;
using System.Text;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>The figures as a page with pictures.</summary>
public sealed class StoreReport(Measurements results)
{
    private sealed record Aim(string Name, string Figure, string Ours, string Other, double Bound, bool AtLeast);

    private readonly List<Aim> _aims = [];
    private readonly List<string> _texts = [];
    private readonly List<(string File, string Title, string Svg)> _charts = [];
    private readonly string _loadAtStart = Load();

    /// <summary>Ours divided by the other, of each round, is to be at least or at most so much.</summary>
    public void Target(string name, string figure, string ours, string other, double bound, bool atLeast) => _aims.Add(new Aim(name, figure, ours, other, bound, atLeast));

    public void Text(string text) => _texts.Add(text);

    public void Chart(string file, LineChart chart) => _charts.Add((file + ".svg", chart.Title, chart.ToSvg()));

    public void Write(string folder, string name)
    {
        Directory.CreateDirectory(folder);
        foreach (var (file, _, svg) in _charts) File.WriteAllText(Path.Combine(folder, $"{name}-{file}"), svg);
        File.WriteAllText(Path.Combine(folder, name + ".md"), Page(name));
    }

    private string Page(string name)
    {
        var page = new StringBuilder();
        Line(page, $"# The retention store beside the disk and its peers\n");
        Line(page, $"{Environment.ProcessorCount} shared cores. Load average (1, 5, 15 minutes): {_loadAtStart} at the beginning, {Load()} at the end. All in one run and on one file system; contestants take turns within a round. Numbers are medians with the least and the most of all rounds; ratios are taken within each round, and their median is given: single numbers of a shared machine say little.\n");
        if (_aims.Count > 0) Aims(page);
        foreach (var (file, title, _) in _charts) Line(page, $"![{title}]({name}-{file})\n");
        foreach (var text in _texts) Line(page, $"{text}\n");
        foreach (var figure in results.Figures) Table(page, figure);
        if (results.Notes.Count > 0) Line(page, $"## Notes\n");
        foreach (var note in results.Notes) Line(page, $"- {note}");
        return page.ToString().TrimEnd('\n') + "\n";
    }

    private void Aims(StringBuilder page)
    {
        Line(page, $"| target | ratio | least to most | wanted | |\n| --- | --- | --- | --- | --- |");
        foreach (var aim in _aims)
        {
            var ratios = Measurements.Ratios(results.Of(aim.Figure, aim.Ours), results.Of(aim.Figure, aim.Other));
            if (ratios.Count == 0) continue;
            var median = Measurements.Median(ratios);
            var met = aim.AtLeast ? median >= aim.Bound : median <= aim.Bound;
            Line(page, $"| {aim.Name} | {median:0.00} x {aim.Other} | {ratios.Min():0.00} to {ratios.Max():0.00} | {(aim.AtLeast ? "≥" : "≤")} {aim.Bound} | {(met ? "met" : "**missed**")} |");
        }
        Line(page, $"");
    }

    private void Table(StringBuilder page, Measurements.Figure figure)
    {
        Line(page, $"## {char.ToUpperInvariant(figure.Name[0])}{figure.Name[1..]}\n\n| {figure.Unit}, {(figure.MoreIsBetter ? "more" : "less")} is better | median | least to most | rounds |\n| --- | --- | --- | --- |");
        foreach (var (contestant, values) in figure.Rounds)
            Line(page, $"| {contestant} | {Measurements.Round(Measurements.Median(values))} | {Measurements.Round(values.Min())} to {Measurements.Round(values.Max())} | {values.Count} |");
        Line(page, $"");
    }

    private static void Line(StringBuilder page, FormattableString text) => page.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');

    private static string Load() => File.Exists("/proc/loadavg") ? string.Join(", ", File.ReadAllText("/proc/loadavg").Split(' ').Take(3)) : "unknown";
}
