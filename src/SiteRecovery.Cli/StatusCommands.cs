using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;
using Spectre.Console;

namespace SiteRecovery.Cli;

/// <summary>The whole cluster at a glance.</summary>
internal static class StatusCommands
{
    private static readonly TimeSpan RefreshEvery = TimeSpan.FromSeconds(2);

    public static Command CreateOverview()
    {
        var command = new Command("overview", "Can I fail over right now?");
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var overview = (await session.Api.GetAsync("overview", cancel)).Body;
            session.Data.Document(session.Data.IsForPeople ? ForPeople(overview) : overview);
            return ExitCode.Done;
        }));
        return command;
    }

    public static Command CreateStatus()
    {
        var watch = new Option<bool>("--watch", "-w") { Description = "Show it again every 2 seconds until interrupted" };
        var command = new Command("status", "Sites, nodes and machines at a glance") { watch };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            if (!session.Arguments.GetValue(watch)) Write(session.Data, await ReadAsync(session.Api, cancel));
            else await WatchAsync(session, cancel);
            return ExitCode.Done;
        }));
        return command;
    }

    private static async Task<JsonObject> ReadAsync(ApiClient api, CancellationToken cancel) => new()
    {
        ["overview"] = (await api.GetAsync("overview", cancel)).Body?.DeepClone(),
        ["sites"] = (await api.ListAsync(SiteCommands.Sites.Path, cancel)).Select(s => s.DeepClone()).ToJson(),
        ["machines"] = (await api.ListAsync(MachineCommands.Machines.Path, cancel)).Select(m => m.DeepClone()).ToJson(),
    };

    private static void Write(DataWriter data, JsonObject status)
    {
        if (!data.IsForPeople)
        {
            data.Document(status);
            return;
        }
        var overview = ForPeople(status["overview"]);
        var unable = status["machines"].Items().Where(m => m.At("canFailOver") is { } can && !can.IsTrue() && m.At("state").Text() != "Unprotected").Select(m => m.At("name").Text()).ToArray();
        (overview as JsonObject)?.Remove("cannotFailOver");
        data.Line(overview.Text());
        if (unable.Length > 0) data.Line($"cannot fail over: {string.Join(", ", unable)}");
        data.Line();
        data.Table(status["sites"].Items(), SiteCommands.Sites.Columns);
        data.Line();
        data.Table(status["machines"].Items(), MachineView.Columns);
        foreach (var machine in status["machines"].Items())
            foreach (var reason in machine.At("health.reasons").Items())
                data.Line($"{machine.At("name").Text()}: {reason.At("severity").Text()}: {reason.At("reason").Text()} {SrctlTerms.Of(reason.At("remedy").Text())}");
    }

    /// <summary>Its durations as all others are shown.</summary>
    private static JsonNode? ForPeople(JsonNode? overview)
    {
        var shown = overview?.DeepClone();
        if (shown is JsonObject fields && fields.At("worstRpo") is { } rpo) fields["worstRpo"] = Forms.Duration(rpo);
        return shown;
    }

    private static async Task WatchAsync(Session session, CancellationToken cancel)
    {
        using var timer = new PeriodicTimer(RefreshEvery);
        var inPlace = session.Data.IsForPeople && !Console.IsOutputRedirected;
        try
        {
            if (inPlace) await AnsiConsole.Live(new Text("")).StartAsync(area => RefreshAsync(text => area.UpdateTarget(new Text(Cropped(text)))));
            else await RefreshAsync(Console.Out.WriteLine);
        }
        catch (OperationCanceledException)
        {
            // Ctrl+C is how a watch ends.
        }

        async Task RefreshAsync(Action<string> show)
        {
            var reached = false;
            do
            {
                show(await DrawAsync(session, mayBeAway: reached && inPlace, cancel));
                reached = true;
            }
            while (await timer.WaitForNextTickAsync(cancel));
        }
    }

    private static async Task<string> DrawAsync(Session session, bool mayBeAway, CancellationToken cancel)
    {
        var text = new StringWriter();
        try
        {
            Write(new DataWriter(session.Data.Format, text), await ReadAsync(session.Api, cancel));
        }
        catch (CommandProblem problem) when (mayBeAway && problem.ExitCode == ExitCode.Unreachable)
        {
            problem.WriteTo(text); // the watch goes on: a site that comes back is what it waits for
        }
        return $"{text}".TrimEnd();
    }

    // What is redrawn in place must not wrap.
    private static string Cropped(string text) => string.Join('\n', text.ReplaceLineEndings("\n").Split('\n')
        .Select(line => line.Length < AnsiConsole.Profile.Width ? line : line[..(AnsiConsole.Profile.Width - 1)]));
}
