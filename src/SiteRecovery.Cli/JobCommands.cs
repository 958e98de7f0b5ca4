using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Jobs;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class JobCommands
{
    private static readonly Resource Jobs = new("job", "jobs", JobForms.Columns);

    public static Command Create() => new("job", "Jobs: what actions started, and how far they are")
    {
        List(), Jobs.Show(WriteJob), Watch(),
        // Of the contract, but of no node yet: who gives them is told of another way.
        Verb("cancel", "Ask a job to stop"), Verb("resume", "Let a job that waits for input go on"), Verb("retry", "Try a failed job again"),
    };

    private static Argument<string> Id() => new("id") { Description = "The job's id", CompletionSources = { context => NamesForCompletion.Of(Jobs, context.ParseResult, "id") } };

    private static Command List()
    {
        var machine = new Option<string?>("--machine") { Description = "Of this machine only", CompletionSources = { c => NamesForCompletion.Of(MachineCommands.Machines, c.ParseResult) } };
        var status = new Option<string?>("--status") { Description = "In this status only, e.g. running or failed" };
        var limit = new Option<int?>("--limit") { Description = "The newest so many" };
        var command = new Command("list", "List jobs, newest first") { machine, status, limit };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            session.Data.List(await session.Api.ListAsync(Jobs.Path + Query.Of(session.Arguments, machine, status), cancel, session.Arguments.GetValue(limit)), JobForms.Columns);
            return ExitCode.Done;
        }));
        return command;
    }

    private static Command Watch()
    {
        var id = Id();
        var command = new Command("watch", "Follow a job to its end; the exit code is its outcome") { id, ActionRun.Timeout };
        command.SetAction(Session.With((session, cancel) =>
            JobWatch.FollowAsync(session, session.Arguments.GetRequiredValue(id), ActionRun.TimeoutOf(session.Arguments), cancel)));
        return command;
    }

    private static Command Verb(string verb, string description)
    {
        var id = Id();
        var command = new Command(verb, description) { id };
        command.Hidden = true;
        ActionRun.AddTo(command, dryRun: false);
        command.SetAction(Session.With((session, cancel) =>
            ActionRun.CarryOutAsync(session, HttpMethod.Post, $"{Jobs.PathOf(session.Arguments.GetRequiredValue(id))}/{verb}", null, cancel)));
        return command;
    }

    private static void WriteJob(DataWriter data, JsonNode job)
    {
        data.Table([job], JobForms.Columns);
        data.Line();
        data.Table(job.At("steps").Items(), JobForms.StepColumns);
        if (JobForms.Times(job) is not { Length: > 0 } times) return;
        data.Line();
        data.Line("from the command on, until");
        data.Fields(times);
    }
}
