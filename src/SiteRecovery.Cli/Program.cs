using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using SiteRecovery.Cli;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Store;

var root = new RootCommand("srctl drives a SiteRecovery cluster over HTTP, and reads retention stores without one")
{
    StatusCommands.CreateStatus(), StatusCommands.CreateOverview(),
    SiteCommands.Create(), NodeCommands.Create(), AgentCommands.Create(),
    VaultCommands.Create(), PolicyCommands.Create(), CloudCommands.Create(), NetworkMappingCommands.Create(), TokenCommands.Create(),
    MachineCommands.Create(), RecoveryPointCommands.Create(), JobCommands.Create(), AuditCommands.Create(),
    StoreCommands.Create(), ContextCommands.Create(), CompletionCommand.Create(),
};
ConnectionOptions.AddTo(root);
root.Add(Session.OutputOption);
CompletionCommand.Answer(root);
foreach (var alias in new[] { "-?", "/?", "/h" }) root.Options.OfType<HelpOption>().Single().Aliases.Remove(alias); // else Tab offers them everywhere

var parsed = root.Parse(args);
if (parsed.Action is ParseErrorAction refusal)
{
    // Help is of use where a verb is missing; beside any other error it would bury the message.
    refusal.ShowHelp = parsed.CommandResult.Command.Subcommands.Count > 0;
    await parsed.InvokeAsync(new InvocationConfiguration { Output = Console.Error });
    return ExitCode.Usage;
}
try
{
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (CommandProblem problem)
{
    problem.WriteTo(Console.Error);
    return problem.ExitCode;
}
catch (OperationCanceledException)
{
    Session.Say("srctl: interrupted");
    return ExitCode.Failed;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    Session.Say($"srctl: {e.Message}");
    return ExitCode.Failed;
}
catch (Exception e)
{
    Session.Say($"srctl: this is a fault of srctl itself; please report it:\n{e}");
    return ExitCode.Failed;
}
