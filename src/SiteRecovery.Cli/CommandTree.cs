using System.CommandLine;
using System.CommandLine.Help;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Store;

namespace SiteRecovery.Cli;

/// <summary>All that srctl can be told.</summary>
public static class CommandTree
{
    // A word that begins with '@' is that word, and no file of more words.
    private static readonly ParserConfiguration Words = new() { ResponseFileTokenReplacer = null };

    public static ParseResult Parse(RootCommand root, IReadOnlyList<string> words) => root.Parse(words, Words);

    public static RootCommand CreateRoot()
    {
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
        return root;
    }
}
