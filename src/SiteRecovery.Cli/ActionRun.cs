using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Jobs;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>An action from its options to its outcome: try it out, confirm, send, follow its job.</summary>
internal static class ActionRun
{
    public static readonly Option<string?> Timeout = new("--timeout") { Description = "Wait no longer than this, e.g. 10m; the job goes on (exit code 4)" };
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Show what would happen, and change nothing" };
    private static readonly Option<bool> NoWait = new("--no-wait") { Description = "Print the job and do not follow it" };
    private static readonly Option<string?> IdempotencyKey = new("--idempotency-key") { Description = "The same key gives the same job, however often the command is repeated" };

    private static readonly Column[] PlanFields =
    [
        Column.Of("machine", "machine"), Column.Of("action", "action"), Column.Of("state", "state"), Column.Of("state after", "stateAfter"),
        new("point", p => p.At("point") is JsonObject point ? $"{point.At("id").Text()} of {Forms.Time(point.At("at"))}" : p.At("point").Text()),
        new("predicted RPO", p => Forms.Duration(p.At("predictedRpo"))), new("predicted RTO", p => Forms.Duration(p.At("predictedRto"))),
    ];

    /// <param name="dryRun">False: the API cannot try it out.</param>
    public static void AddTo(Command command, bool dryRun = true)
    {
        if (dryRun) command.Add(DryRun);
        foreach (var option in new Option[] { NoWait, Timeout, IdempotencyKey }) command.Add(option);
    }

    public static void AddRiskyTo(Command command)
    {
        AddTo(command);
        command.Add(Confirmation.Yes);
        command.Add(Confirmation.Acknowledge);
    }

    public static TimeSpan? TimeoutOf(ParseResult arguments) => arguments.GetValue(Timeout) is not { } text ? null
        : Forms.ParseDuration(text) ?? throw CommandProblem.Usage($"--timeout is '{text}'", "Give a duration such as 30s or 10m.");

    /// <param name="confirm">Of a risky action: the name to type and the verb.</param>
    public static async Task<int> CarryOutAsync(
        Session session, HttpMethod method, string path, JsonObject? body, CancellationToken cancel, (string Name, string Verb)? confirm = null)
    {
        var timeout = TimeoutOf(session.Arguments);
        if (session.Arguments.GetValue(DryRun))
        {
            var plan = await TryOutAsync(session, method, path, body, cancel);
            if (session.Data.IsForPeople) WritePlan(session.Data, plan);
            else session.Data.Document(plan);
            return ExitCode.Done;
        }
        if (confirm is { } asked) (path, body) = Acknowledging(method, path, body, await ConfirmAsync(session, method, path, body, asked, cancel));
        // A key of our own too: it lets another node be asked again when this one dies before it answers.
        var key = session.Arguments.GetValue(IdempotencyKey) ?? Guid.NewGuid().ToString("N");
        var answer = await session.Api.SendAsync(method, path, body, cancel, idempotencyKey: key);
        if (answer.Job is not { } id)
        {
            if (answer.Body is not null) session.Data.Document(answer.Body);
            return ExitCode.Done;
        }
        if (!session.Arguments.GetValue(NoWait)) return await JobWatch.FollowAsync(session, id, timeout, cancel);
        var job = answer.Body ?? (await session.Api.GetAsync($"jobs/{Uri.EscapeDataString(id)}", cancel)).Body!;
        JobWatch.WriteResult(session.Data, job);
        Session.Say($"follow it: srctl job watch {id}");
        return ExitCode.Done;
    }

    /// <summary>The codes of the warnings that are accepted.</summary>
    private static async Task<string[]> ConfirmAsync(
        Session session, HttpMethod method, string path, JsonObject? body, (string Name, string Verb) confirm, CancellationToken cancel)
    {
        var acknowledged = (IEnumerable<string>)(session.Arguments.GetValue(Confirmation.Acknowledge) ?? []);
        if (!session.Arguments.GetValue(Confirmation.Yes) && Confirmation.CanAsk)
        {
            // Whoever types the name has read the warnings, and accepts them by it.
            var plan = await TryOutAsync(session, method, path, body, cancel);
            WritePlan(new DataWriter(OutputFormat.Table, Console.Error), plan);
            acknowledged = acknowledged.Concat(plan.At("warnings").Items().Select(JobForms.WarningCode));
        }
        Confirmation.Require(session.Arguments, confirm.Name, $"{confirm.Verb} of '{confirm.Name}'");
        return [.. acknowledged.Distinct()];
    }

    // A DELETE has no body to say it in.
    private static (string Path, JsonObject? Body) Acknowledging(HttpMethod method, string path, JsonObject? body, string[] codes)
    {
        if (codes.Length == 0) return (path, body);
        if (method == HttpMethod.Delete) return ($"{path}?{string.Join('&', codes.Select(c => $"acknowledge={Uri.EscapeDataString(c)}"))}", body);
        body ??= [];
        body["acknowledge"] = codes.ToJson();
        return (path, body);
    }

    private static async Task<JsonNode> TryOutAsync(Session session, HttpMethod method, string path, JsonObject? body, CancellationToken cancel) =>
        (await session.Api.SendAsync(method, $"{path}?dryRun=true", body?.DeepClone(), cancel)).Body ?? new JsonObject();

    private static void WritePlan(DataWriter data, JsonNode plan)
    {
        data.Fields(PlanFields.Select(f => (f.Title, f.Value(plan))).Where(f => f.Item2 != "-").Append(("steps", plan.At("steps").Text())));
        foreach (var warning in plan.At("warnings").Items()) data.Line($"warning: {JobForms.Warning(warning)}");
    }
}
