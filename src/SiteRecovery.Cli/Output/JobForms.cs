using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

/// <summary>How people read jobs, their steps and warnings.</summary>
internal static class JobForms
{
    public static IReadOnlyList<Column> Columns { get; } =
    [
        new("ID", j => j.At("id").Text()),
        new("ACTION", j => j.At("action").Text()),
        new("STATUS", j => j.At("status").Text()),
        new("STARTED", j => Forms.Time(j.At("startedAt"))),
        new("TOOK", Took),
        new("ERROR", j => j.At("error").Text()),
        new("STEPS", j => string.Join(",", j.At("steps").Items().Select(s => $"{s.At("name").Text()}={s.At("status").Text()}")), Wide: true),
    ];

    public static IReadOnlyList<Column> StepColumns { get; } =
    [
        new("STEP", s => s.At("name").Text()),
        new("STATUS", s => s.At("status").Text()),
        new("AT", s => Forms.Time(s.At("at"))),
        new("DETAIL", StepDetail),
    ];

    private static readonly Column[] TimeFields =
    [
        new("epoch opened", t => Forms.Duration(t.At("epochOpened"))), new("disks served", t => Forms.Duration(t.At("disksServed"))), new("machine started", t => Forms.Duration(t.At("machineStarted"))),
        new("first sector read", t => Forms.Duration(t.At("firstRead"))),
        new("guest up", t => t.At("guestUp") is { } up ? $"{Forms.Duration(up)} (by its {(t.At("guestUpBy").Text() == "firstWrite" ? "first write" : t.At("guestUpBy").Text())})" : "-"),
    ];

    /// <summary>How soon the machine was back, from the command on, of what was seen of it.</summary>
    public static (string Name, string Value)[] Times(JsonNode job) => job.At("times") is not { } times ? []
        : [.. TimeFields.Select(f => (f.Title, f.Value(times))).Where(f => f.Item2 != "-")];

    public static bool IsFinished(JsonNode job) => job.At("finishedAt") is not null && job.At("status").Text() is "succeeded" or "succeededWithWarnings" or "failed" or "cancelled";

    public static string StepDetail(JsonNode step)
    {
        var detail = step.At("progress") is { } progress ? Forms.Progress(progress) : step.At("detail").Text();
        return detail == "-" ? "" : detail;
    }

    /// <summary>Warnings are texts, or objects with a code to acknowledge.</summary>
    public static string Warning(JsonNode warning) => warning is JsonObject
        ? $"{warning.At("code").Text()}: {(warning.At("warning") ?? warning.At("detail")).Text()}" : warning.Text();

    public static string WarningCode(JsonNode warning) => warning is JsonObject ? warning.At("code").Text() : warning.Text();

    private static string Took(JsonNode job) => job.At("startedAt").Time() is { } start && job.At("finishedAt").Time() is { } end
        ? Forms.Span(end - start) : "-";
}
