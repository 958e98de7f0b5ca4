using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class RecoveryPointCommands
{
    public static IReadOnlyList<Column> Columns { get; } =
    [
        Column.Of("ID", "id"), new("AT", p => Forms.ExactTime(p.At("at"))), Column.Of("KIND", "kind"), Column.Of("LABEL", "label"),
        new("KEPT", p => p.At("protected").IsTrue() ? "protected" : "-"), Column.Of("CHECKED", "verification"),
        new("ENTROPY", p => p.At("signals.entropy").Text()), new("WRITTEN/S", p => p.At("signals.overwriteRate") is { } rate ? Forms.Bytes(rate) : "-"), new("JUMP", p => p.At("signals.jump").IsTrue() ? "JUMP" : "-"),
        Column.Of("EPOCH", "epoch", wide: true), Column.Of("SEQUENCE", "sequence", wide: true), Column.Of("ROOT-HASH", "rootHash", wide: true),
    ];

    public static Command Create() => new("recovery-point", "Recovery points of a machine")
    {
        List(), Take(), Protect(), Verb("verify", "Read all that a point shows and check it; 'list' says what came of it"),
    };

    private static Command List()
    {
        var machine = MachineCommands.Machines.Name();
        var kind = new Option<string?>("--kind") { Description = "crashConsistent or applicationConsistent", CompletionSources = { "crashConsistent", "applicationConsistent" } };
        var from = new Option<string?>("--from") { Description = "Not before this time" };
        var to = new Option<string?>("--to") { Description = "Not after this time" };
        var limit = new Option<int?>("--limit") { Description = "At most so many" };
        var command = new Command("list", "Recovery points by time range and kind") { machine, kind, from, to, limit };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var path = PathOf(session.Arguments.GetRequiredValue(machine)) + Query.Of(session.Arguments, kind, from, to);
            session.Data.List(await session.Api.ListAsync(path, cancel, session.Arguments.GetValue(limit)), Columns);
            return ExitCode.Done;
        }));
        return command;
    }

    private static Command Take()
    {
        var machine = MachineCommands.Machines.Name();
        var label = new Option<string?>("--label") { Description = "A name for the point" };
        var kind = new Option<string?>("--kind") { Description = "crashConsistent (default) or applicationConsistent", CompletionSources = { "crashConsistent", "applicationConsistent" } };
        var command = new Command("take", "Make a recovery point now, and print its id") { machine, label, kind };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var body = new JsonObject();
            if (session.Arguments.GetValue(label) is { } text) body["label"] = text;
            if (session.Arguments.GetValue(kind) is { } wanted) body["kind"] = wanted;
            var answer = await session.Api.SendAsync(HttpMethod.Post, PathOf(session.Arguments.GetRequiredValue(machine)), body, cancel);
            if (answer.Job is { } job) return await Jobs.JobWatch.FollowAsync(session, job, null, cancel);
            if (session.Data.IsForPeople) session.Data.Line(answer.Body.At("id").Text());
            else session.Data.Document(answer.Body!);
            return ExitCode.Done;
        }));
        return command;
    }

    private static Command Protect()
    {
        var release = new Option<bool>("--release") { Description = "Let the retention decide again" };
        return Verb("protect", "Keep a point, and all that follows it, beyond the retention", release, arguments => new JsonObject { ["keep"] = !arguments.GetValue(release) });
    }

    private static Command Verb(string verb, string description, Option? option = null, Func<ParseResult, JsonObject>? body = null)
    {
        var machine = MachineCommands.Machines.Name();
        var point = new Argument<string>("point") { Description = "The point's id" };
        var command = new Command(verb, description) { machine, point };
        if (option is not null) command.Add(option);
        ActionRun.AddTo(command, dryRun: false);
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var name = session.Arguments.GetRequiredValue(machine);
            PointText.Read(session.Arguments.GetRequiredValue(point));
            var exit = await ActionRun.CarryOutAsync(session, HttpMethod.Post,
                $"{PathOf(name)}/{Uri.EscapeDataString(session.Arguments.GetRequiredValue(point))}/{verb}", body?.Invoke(session.Arguments), cancel);
            if (exit == ExitCode.Done) Session.Say($"look at it: srctl recovery-point list {name}");
            return exit;
        }));
        return command;
    }

    private static string PathOf(string machine) => $"{MachineCommands.Machines.PathOf(machine)}/recovery-points";
}
