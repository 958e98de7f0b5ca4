using System.CommandLine;
using System.CommandLine.Invocation;
using SiteRecovery.Cli;
using SiteRecovery.DataPlane.Storage;

Posix.KeepFilesPrivate();
var parsed = CommandTree.Parse(CommandTree.CreateRoot(), args);
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
