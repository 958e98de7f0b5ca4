using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class SiteCommands
{
    public static readonly Resource Sites = new("site", "sites",
    [
        Column.Of("NAME", "name"), Column.Of("NODES", "nodes"), Column.Of("REACHABLE", "reachableNodes"), Column.Of("ROLES", "roles"), Column.Of("AGENTS", "agents", wide: true),
    ]);

    public static Command Create() => new("site", "Sites of the cluster") { Sites.List(), Sites.Show() };
}
