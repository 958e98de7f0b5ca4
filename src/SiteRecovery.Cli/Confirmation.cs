using System.CommandLine;

namespace SiteRecovery.Cli;

/// <summary>People type the name of what they are about to change; scripts say so beforehand.</summary>
internal static class Confirmation
{
    public static readonly Option<bool> Yes = new("--yes", "-y") { Description = "Do not ask; for scripts" };
    public static readonly Option<string[]> Acknowledge = new("--acknowledge") { Description = "Codes of the warnings that are accepted, as --dry-run shows them", AllowMultipleArgumentsPerToken = true };

    public static bool CanAsk => !Console.IsInputRedirected && !Console.IsErrorRedirected;

    /// <param name="what">What is going to be done, for people.</param>
    /// <exception cref="CommandProblem">It is not confirmed; nothing was changed.</exception>
    public static void Require(ParseResult arguments, string name, string what)
    {
        if (arguments.GetValue(Yes)) return;
        if (!CanAsk)
            throw CommandProblem.Usage($"{what} needs a confirmation, and nobody can be asked here", "Scripts pass --yes, with --acknowledge CODE… for the warnings that --dry-run shows.");
        Console.Error.Write($"Type '{name}' to confirm: {what}: ");
        if (Console.ReadLine()?.Trim() != name) throw CommandProblem.Usage("not confirmed; nothing was changed", $"Type the name, {name}, to confirm.");
    }
}
