using System.Text.Json.Nodes;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli.Jobs;

/// <summary>Shows a job's steps to people as they change.</summary>
internal interface IStepDisplay
{
    void Show(JsonNode job);
    void Note(string text);
}

/// <summary>Follows a job to its end. Nodes may come and go meanwhile: the job is the cluster's.</summary>
internal static class JobWatch
{
    // A node answers a wait when the job ends, not when a step does: short waits show the steps as they go.
    private const string WaitPerRequest = "1s";
    private static readonly TimeSpan UnreachablePatience = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan RetryEvery = TimeSpan.FromSeconds(1);

    public static async Task<int> FollowAsync(Session session, string id, TimeSpan? timeout, CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        if (timeout is { } limit) patience.CancelAfter(limit);
        try
        {
            Func<IStepDisplay, Task<JsonNode>> follow = display => UntilFinishedAsync(session.Api, id, display, patience.Token);
            var job = await (Terminal.IsLive ? LiveSteps.RunAsync(follow) : follow(new PlainSteps(Console.Error)));
            WriteResult(session.Data, job);
            if (JobForms.Times(job) is { Length: > 0 } times)
                Session.Say($"from the command on, until {string.Join(", ", times.Select(t => $"{t.Name}: {t.Value}"))}{(job.At("times").At("guestUp") is null ? $"; what comes later: srctl job show {id}" : "")}");
            return Outcome(job);
        }
        catch (OperationCanceledException)
        {
            Session.Say($"job {id} goes on; follow it: srctl job watch {id}");
            return ExitCode.StillRunning;
        }
    }

    public static void WriteResult(DataWriter data, JsonNode job)
    {
        if (data.IsForPeople) data.Table([job], JobForms.Columns);
        else data.Document(job);
    }

    private static async Task<JsonNode> UntilFinishedAsync(ApiClient api, string id, IStepDisplay display, CancellationToken cancel)
    {
        DateTimeOffset? unreachableSince = null;
        while (true)
        {
            try
            {
                var job = (await api.GetAsync($"jobs/{Uri.EscapeDataString(id)}?wait={WaitPerRequest}", cancel)).Body!;
                unreachableSince = null;
                display.Show(job);
                if (JobForms.IsFinished(job)) return job;
            }
            catch (CommandProblem problem) when (problem.ExitCode == ExitCode.Unreachable)
            {
                var now = TimeProvider.System.GetUtcNow();
                if (unreachableSince is null) display.Note($"{problem.Message}; asking on for {Forms.Span(UnreachablePatience)}");
                if (now - (unreachableSince ??= now) > UnreachablePatience) throw;
                await Task.Delay(RetryEvery, cancel);
            }
        }
    }

    private static int Outcome(JsonNode job) => job.At("status").Text() switch
    {
        "succeeded" => ExitCode.Done,
        "succeededWithWarnings" => ExitCode.DoneWithWarnings,
        _ => ExitCode.Failed,
    };
}
