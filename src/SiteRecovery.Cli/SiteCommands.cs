using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class SiteCommands
{
    public static readonly Resource Sites = new("site", "sites",
    [
        Column.Of("NAME", "name"), Column.Of("NODES", "nodes"), Column.Of("REACHABLE", "reachableNodes"), Column.Of("ROLES", "roles"), Column.Of("AGENTS", "agents", wide: true),
    ]);

    /// <summary>A site begins with its first node, which may come later: what names one that has none is stored, and this says so.</summary>
    public static async Task NoteUnknownAsync(Session session, IEnumerable<string> named, CancellationToken cancel)
    {
        if (named.Distinct().ToArray() is not { Length: > 0 } sites) return;
        string[] known;
        try
        {
            known = [.. (await session.Api.ListAsync(Sites.Path, cancel)).Select(s => s.At("name").Text())];
        }
        catch (CommandProblem)
        {
            return; // what was asked for is done: this is a note
        }
        foreach (var site in sites.Except(known))
            Session.Say($"note: no node of a site '{site}' is in the cluster now; there are {string.Join(", ", known)}. If it is misspelt, put it right; if its nodes come later or are down, nothing needs to be done.");
    }

    public static Command Create() => new("site", "Sites of the cluster") { Sites.List(), Sites.Show() };
}
