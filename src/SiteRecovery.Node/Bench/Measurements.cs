using System.Globalization;
using System.Text.Json.Nodes;

namespace SiteRecovery.Node.Bench;

/// <summary>
/// What rounds have measured. Contestants take turns within a round, so that whatever else the host does hits all alike;
/// medians and ratios between contestants are worth reading, single numbers are not.
/// </summary>
public sealed class Measurements
{
    private readonly List<Figure> _figures = [];
    private readonly List<string> _notes = [];

    public sealed record Figure(string Name, string Unit, bool MoreIsBetter)
    {
        public List<(string Contestant, List<double> Values)> Rounds { get; } = [];
    }

    public IReadOnlyList<Figure> Figures => _figures;
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>What a contestant's rounds have given, in their order; empty where it did not take part.</summary>
    public IReadOnlyList<double> Of(string figure, string contestant) => _figures.Find(f => f.Name == figure)?.Rounds.Find(r => r.Contestant == contestant).Values ?? [];

    public void Add(string figure, string unit, string contestant, double value, bool moreIsBetter = false)
    {
        if (_figures.Find(f => f.Name == figure) is not { } found) _figures.Add(found = new Figure(figure, unit, moreIsBetter));
        var index = found.Rounds.FindIndex(r => r.Contestant == contestant);
        if (index < 0)
        {
            index = found.Rounds.Count;
            found.Rounds.Add((contestant, []));
        }
        found.Rounds[index].Values.Add(value);
    }

    /// <summary>Another's figures and notes behind these.</summary>
    public void Take(Measurements other)
    {
        foreach (var figure in other._figures)
            foreach (var (contestant, values) in figure.Rounds)
                foreach (var value in values) Add(figure.Name, figure.Unit, contestant, value, figure.MoreIsBetter);
        foreach (var note in other._notes) Note(note);
    }

    /// <summary>Something a reader of the figures must know, such as a peer that is not installed.</summary>
    public void Note(string note)
    {
        if (!_notes.Contains(note)) _notes.Add(note);
    }

    public void Print(TextWriter to)
    {
        foreach (var figure in _figures)
        {
            to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{figure.Name} [{figure.Unit}, {(figure.MoreIsBetter ? "more" : "less")} is better]"));
            foreach (var (contestant, values) in figure.Rounds)
                to.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"  {contestant,-26} median {Round(Median(values)),10}   {Round(values.Min())} to {Round(values.Max())} in {values.Count} rounds{RatiosOf(figure, contestant)}"));
        }
        foreach (var note in _notes) to.WriteLine("note: " + note);
    }

    public JsonObject ToJson() => new()
    {
        ["processors"] = Environment.ProcessorCount,
        ["figures"] = new JsonArray([.. _figures.Select(f => (JsonNode)new JsonObject
        {
            ["name"] = f.Name, ["unit"] = f.Unit, ["moreIsBetter"] = f.MoreIsBetter,
            ["contestants"] = new JsonArray([.. f.Rounds.Select(r => (JsonNode)new JsonObject
            {
                ["name"] = r.Contestant, ["median"] = Median(r.Values), ["rounds"] = new JsonArray([.. r.Values.Select(v => (JsonNode)JsonValue.Create(v)!)]),
            })]),
        })]),
        ["notes"] = new JsonArray([.. _notes.Select(n => (JsonNode)JsonValue.Create(n)!)]),
    };

    public void Save(string path) => File.WriteAllText(path, ToJson().ToJsonString(new() { WriteIndented = true }));

    /// <summary>Of each round, as what disturbed one round disturbed both of its sides; empty where not both took part in all.</summary>
    public static IReadOnlyList<double> Ratios(IReadOnlyList<double> own, IReadOnlyList<double> other) =>
        own.Count == other.Count && !other.Contains(0) ? [.. own.Zip(other, (a, b) => a / b)] : [];

    /// <summary>Ours to each peer's: the median of the ratios.</summary>
    private static string RatiosOf(Figure figure, string contestant)
    {
        if (!IsOurs(contestant)) return "";
        var own = figure.Rounds.Find(r => r.Contestant == contestant).Values;
        return string.Concat(figure.Rounds.Where(r => !IsOurs(r.Contestant)).Select(peer => (peer.Contestant, Ratios: Ratios(own, peer.Values))).Where(peer => peer.Ratios.Count > 0)
            .Select(peer => string.Create(CultureInfo.InvariantCulture, $";  {Median(peer.Ratios):0.00} x {peer.Contestant}")));
    }

    private static bool IsOurs(string contestant) => contestant.StartsWith("siterecovery", StringComparison.Ordinal);

    public static double Median(IReadOnlyList<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    public static string Round(double value) => value.ToString(Math.Abs(value) >= 100 ? "N0" : "0.###", CultureInfo.InvariantCulture);
}
