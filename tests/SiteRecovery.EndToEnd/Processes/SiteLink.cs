using System.ComponentModel;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>What joins two sites: how their processes reach each other, and how they cease to.</summary>
internal interface ISiteLink : IAsyncDisposable
{
    /// <summary>For people.</summary>
    string Description { get; }

    /// <summary>A command that becomes, at that site, the command that follows it; empty for none.</summary>
    IReadOnlyList<string> LauncherAt(string site);

    /// <summary>What a node is told of its addresses: HOCON below siterecovery.</summary>
    string SettingsOf(NodeUnderTest node, int clusterPort, int dataPort);

    /// <summary>What is on its way to a site does not arrive; of one kind of port alone ("cluster", "data") where it is named.</summary>
    Task CutAsync(bool toSecondary, bool toPrimary, string? only = null);

    Task HealAsync();
}

/// <summary>Which link there is.</summary>
internal static class SiteLink
{
    /// <summary>SITERECOVERY_LINK: "namespaces" or "loopback"; without it the first where it can be had, else the second.</summary>
    /// <param name="say">Is told what a link has lost.</param>
    internal static async Task<ISiteLink> OpenAsync(Action<string> say)
    {
        var wanted = Environment.GetEnvironmentVariable("SITERECOVERY_LINK") ?? "";
        if (wanted is not ("" or "namespaces" or "loopback")) throw new ArgumentException($"SITERECOVERY_LINK is '{wanted}': 'namespaces' or 'loopback' are possible");
        if (wanted == "loopback") return new LoopbackLink("as SITERECOVERY_LINK says");
        try
        {
            return await NamespaceLink.OpenAsync(say);
        }
        catch (Exception lacking) when (wanted == "" && lacking is InvalidOperationException or Win32Exception)
        {
            return new LoopbackLink($"there are no network namespaces to be had here: {lacking.Message.Trim()}");
        }
    }
}
