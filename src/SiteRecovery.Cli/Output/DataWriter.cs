using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

internal enum OutputFormat { Table, Wide, Json, Yaml }

/// <summary>Data for stdout. Tables are never wrapped or drawn with lines, so that cut, awk and grep work on them.</summary>
internal sealed class DataWriter(OutputFormat format, TextWriter output)
{
    private readonly TextWriter _output = PlainText.On(output);

    public OutputFormat Format { get; } = format;
    public bool IsForPeople => Format is OutputFormat.Table or OutputFormat.Wide;

    public void List(IReadOnlyList<JsonNode> items, IReadOnlyList<Column> columns)
    {
        if (IsForPeople) Table(items, columns);
        else Document(new JsonObject { ["items"] = items.Select(i => i.DeepClone()).ToJson() });
    }

    public void Table(IReadOnlyList<JsonNode> items, IReadOnlyList<Column> columns)
    {
        var shown = columns.Where(c => !c.Wide || Format == OutputFormat.Wide).ToArray();
        var rows = new List<string[]> { shown.Select(c => c.Title).ToArray() };
        rows.AddRange(items.Select(item => shown.Select(c => c.Value(item).ReplaceLineEndings(" ")).ToArray()));
        var widths = Enumerable.Range(0, shown.Length).Select(i => rows.Max(r => r[i].Length)).ToArray();
        foreach (var row in rows)
            _output.WriteLine(string.Join("  ", row.Select((cell, i) => i == row.Length - 1 ? cell : cell.PadRight(widths[i]))).TrimEnd());
    }

    public void Fields(IEnumerable<(string Name, string Value)> fields)
    {
        var all = fields.ToArray();
        var width = all.Select(f => f.Name.Length).DefaultIfEmpty().Max() + 1;
        foreach (var (name, value) in all) _output.WriteLine($"{(name + ":").PadRight(width)} {value}");
    }

    public void Line(string text = "") => _output.WriteLine(text);

    /// <summary>Whole, as JSON or YAML; for people as YAML.</summary>
    /// <param name="document">Null: the answer says nothing.</param>
    public void Document(JsonNode? document)
    {
        if (Format == OutputFormat.Json) _output.WriteLine(Json(document));
        else _output.Write(Yaml.Write(document));
    }

    private static string Json(JsonNode? document)
    {
        if (document is null) return "null";
        using var bytes = new MemoryStream();
        // Nothing here ends up in a web page: names stay readable.
        using (var writer = new Utf8JsonWriter(bytes, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            document.WriteTo(writer);
        return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
    }
}
