using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class NodeCommands
{
    private static readonly Resource Nodes = new("node", "nodes",
    [
        Column.Of("NAME", "name"), Column.Of("SITE", "site"), Column.Of("STATUS", "status"), Column.Of("REACHABLE", "reachable"), Column.Of("ROLES", "roles"),
        Column.Of("HTTP", "httpUrl", wide: true), Column.Of("ADDRESS", "address", wide: true),
    ]);

    public static Command Create() => new("node", "Nodes: the servers of the cluster") { Nodes.List(), Show(), Drain(), Forget(), Nodes.JoinToken() };

    private static Argument<string> Node() => new("node")
    {
        Description = "Its name or address, as 'node list' shows it",
        CompletionSources = { context => NamesForCompletion.Of(Nodes, context.ParseResult) },
    };

    private static Command Show()
    {
        var node = Node();
        var command = new Command("show", "Show one node") { node };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var wanted = session.Arguments.GetRequiredValue(node);
            var found = (await session.Api.ListAsync(Nodes.Path, cancel)).FirstOrDefault(n => n.At("name").Text() == wanted || n.At("address").Text() is var a && (a == wanted || a.EndsWith($"@{wanted}", StringComparison.Ordinal)))
                ?? throw new CommandProblem(ExitCode.NotFound, $"there is no node '{wanted}'", null, "List them: srctl node list.");
            session.Data.Document(found);
            return ExitCode.Done;
        }));
        return command;
    }

    private static Command Forget()
    {
        var node = Node();
        var command = new Command("forget", "Miss a node no more that is gone for good") { node, Confirmation.Yes };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var wanted = session.Arguments.GetRequiredValue(node);
            Confirmation.Require(session.Arguments, wanted, $"forget node '{wanted}'");
            await session.Api.SendAsync(HttpMethod.Delete, Nodes.PathOf(wanted), null, cancel);
            Session.Say($"node '{wanted}' is forgotten");
            return ExitCode.Done;
        }));
        return command;
    }

    private static Command Drain()
    {
        var node = Node();
        // Of the contract, but of no node yet: who gives it is told of another way.
        var command = new Command("drain", "Move all work away from a node") { node };
        command.Hidden = true;
        ActionRun.AddTo(command, dryRun: false);
        command.SetAction(Session.With((session, cancel) =>
            ActionRun.CarryOutAsync(session, HttpMethod.Post, $"{Nodes.PathOf(session.Arguments.GetRequiredValue(node))}/drain", null, cancel)));
        return command;
    }
}
