using System.Text.Json.Nodes;
using Spectre.Console;

namespace SiteRecovery.Node.Demo;

/// <summary>What the demo prints: steps, lines, and a table at the end.</summary>
public sealed class DemoScreen(IAnsiConsole console)
{
    private int _step;

    public void Step(string text) => console.MarkupLineInterpolated($"\n[bold]{++_step}. {text}[/]");

    public void Say(string text) => console.MarkupLineInterpolated($"   {text}");

    public void Progress(JsonObject progress) => Say(string.Join(", ", progress.Where(p => p.Value is not null).Select(p => $"{p.Key} {p.Value}")));

    public void Table(JsonObject figures)
    {
        var table = new Table().AddColumn("figure").AddColumn("value");
        foreach (var (name, value) in figures) table.AddRow(Markup.Escape(name), Markup.Escape(value?.ToString() ?? "unknown"));
        console.WriteLine();
        console.Write(table);
    }
}
