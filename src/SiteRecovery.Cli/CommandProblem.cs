using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>What srctl ends with; scripts rely on the numbers.</summary>
internal static class ExitCode
{
    public const int Done = 0, Failed = 1, Usage = 2, DoneWithWarnings = 3, StillRunning = 4;
    public const int NotFound = 10, NotAllowed = 11, NotAuthenticated = 12, Forbidden = 13, Unreachable = 14;
}

/// <summary>Why a command ends without what it was asked for.</summary>
/// <param name="what">What did not happen, in one line.</param>
/// <param name="why">The reason, where it says more than <paramref name="what"/>.</param>
/// <param name="remedy">What the user can do about it.</param>
internal sealed class CommandProblem(int exitCode, string what, string? why = null, string? remedy = null, Exception? cause = null) : Exception(what, cause)
{
    public int ExitCode { get; } = exitCode;
    public string? Why { get; } = why;
    public string? Remedy { get; } = remedy;
    public IReadOnlyList<string> AllowedActions { get; private init; } = [];
    public IReadOnlyList<JsonNode> Warnings { get; private init; } = [];

    public static CommandProblem Usage(string what, string remedy) => new(Cli.ExitCode.Usage, what, null, remedy);

    /// <param name="problem">RFC 9457 problem details; null where the answer was none.</param>
    public static CommandProblem OfAnswer(string request, int status, JsonNode? problem)
    {
        if (problem?.At("code") is null)
            return new CommandProblem(ExitCodeOf(status), $"{request} was answered with status {status}", "The answer is not one of a SiteRecovery node.", "Check that --server names a node's HTTP address, and any proxy between.");
        var state = problem.At("state") is { } s ? $" (state {s.Text()})" : "";
        return new CommandProblem(ExitCodeOf(status), $"{request}: {problem.At("code").Text()}{state}", problem.At("detail")?.Text(), problem.At("remedy") is { } remedy ? SrctlTerms.Of(remedy.Text()) : null)
        {
            AllowedActions = [.. (problem.At("allowedActions") as JsonArray ?? []).Select(a => a.Text())],
            Warnings = [.. (problem.At("warnings") as JsonArray ?? []).OfType<JsonNode>()],
        };
    }

    public void WriteTo(TextWriter output)
    {
        var people = PlainText.On(output);
        people.WriteLine($"srctl: {Message}");
        if (Why is not null) people.WriteLine($"  why:     {Why}");
        foreach (var warning in Warnings) people.WriteLine($"  warning: {JobForms.Warning(warning)}");
        if (Remedy is not null) people.WriteLine($"  do:      {Remedy}");
        if (AllowedActions.Count > 0) people.WriteLine($"  allowed: {string.Join(", ", AllowedActions)}");
    }

    // 501 is a refusal like 409: nothing has changed, and waiting for another state is not needed to know it.
    private static int ExitCodeOf(int status) => status switch
    {
        400 or 413 or 415 or 422 => Cli.ExitCode.Usage,
        401 => Cli.ExitCode.NotAuthenticated,
        403 => Cli.ExitCode.Forbidden,
        404 => Cli.ExitCode.NotFound,
        409 or 501 => Cli.ExitCode.NotAllowed,
        502 or 503 or 504 => Cli.ExitCode.Unreachable,
        _ => Cli.ExitCode.Failed,
    };
}
