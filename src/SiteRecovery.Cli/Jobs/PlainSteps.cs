using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli.Jobs;

/// <summary>One line for every change of a step, for logs.</summary>
internal sealed class PlainSteps(TextWriter output) : IStepDisplay
{
    private readonly TextWriter _people = PlainText.On(output);
    private readonly Dictionary<string, string> _shown = [];
    private string? _status;

    public void Show(JsonNode job)
    {
        if (_status is null) _people.WriteLine($"job {job.At("id").Text()}: {job.At("action").Text()}");
        foreach (var step in job.At("steps").Items())
        {
            // Progress moves all the time: it is no change worth a line of its own.
            var line = $"{step.At("name").Text()}: {step.At("status").Text()}{Detail(step.At("detail"))}";
            if (_shown.GetValueOrDefault(step.At("name").Text()) == line) continue;
            _shown[step.At("name").Text()] = line;
            _people.WriteLine($"{Forms.Time(step.At("at"))} {line}");
        }
        var status = job.At("status").Text();
        if (JobForms.IsFinished(job)) _people.WriteLine($"{Forms.Time(job.At("finishedAt"))} {status}{Detail(job.At("error"))}");
        else if (status != _status && status is "waitingForInput" or "cancelling") _people.WriteLine(status);
        _status = status;
    }

    public void Note(string text) => _people.WriteLine(text);

    private static string Detail(JsonNode? detail) => detail is null ? "" : $" ({detail.Text()})";
}
