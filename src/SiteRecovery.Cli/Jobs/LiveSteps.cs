using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace SiteRecovery.Cli.Jobs;

/// <summary>The steps of a job, redrawn in place on a terminal.</summary>
internal sealed class LiveSteps(LiveDisplayContext area) : IStepDisplay
{
    private string? _note;
    private JsonNode? _job;

    public static Task<T> RunAsync<T>(Func<IStepDisplay, Task<T>> follow) =>
        Terminal.People.Live(Plain("")).StartAsync(area => follow(new LiveSteps(area)));

    public void Show(JsonNode job)
    {
        (_job, _note) = (job, null);
        area.UpdateTarget(Render());
    }

    public void Note(string text)
    {
        _note = text;
        area.UpdateTarget(Render());
    }

    private Rows Render()
    {
        List<IRenderable> rows = [];
        if (_job is not null)
        {
            rows.Add(Plain($"{_job.At("action").Text()} {_job.At("id").Text()}: {_job.At("status").Text()}", StyleOf(_job.At("status").Text())));
            var grid = new Grid().AddColumns(4);
            foreach (var step in _job.At("steps").Items())
            {
                var status = step.At("status").Text();
                grid.AddRow(Plain($"  {Mark(status)}", StyleOf(status)), Plain(step.At("name").Text()), Plain(status, StyleOf(status)), Plain(JobForms.StepDetail(step)));
            }
            rows.Add(grid);
            if (_job.At("error") is { } error) rows.Add(Plain(error.Text(), StyleOf("failed")));
        }
        if (_note is not null) rows.Add(Plain(_note, StyleOf("waitingForInput")));
        return new Rows(rows);
    }

    private static Text Plain(string text, Style? style = null) => new(PlainText.Of(text), style);

    private static string Mark(string status) => status switch
    {
        "succeeded" => "✔",
        "failed" => "✘",
        "cancelled" => "-",
        "pending" => " ",
        _ => "…",
    };

    private static Style StyleOf(string status) => new(status switch
    {
        "succeeded" => Color.Green,
        "failed" => Color.Red,
        "succeededWithWarnings" or "waitingForInput" or "cancelling" => Color.Yellow,
        "cancelled" or "pending" => Color.Grey,
        _ => Color.Blue,
    });
}
