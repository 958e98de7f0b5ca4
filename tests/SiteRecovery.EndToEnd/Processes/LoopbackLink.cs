namespace SiteRecovery.EndToEnd.Processes;

/// <summary>All on loopback; the ports that the other site knows of are proxies, and those can be deaf and dumb.</summary>
internal sealed class LoopbackLink(string why = "") : ISiteLink
{
    private readonly Dictionary<string, (LinkProxy Proxy, string Site)> _proxies = [];

    public string Description => $"loopback with link proxies{(why.Length > 0 ? $" ({why})" : "")}";

    /// <summary>What has come from those who connect to data ports.</summary>
    internal long DataBytes => _proxies.Where(p => p.Key.EndsWith(":data", StringComparison.Ordinal)).Sum(p => p.Value.Proxy.BytesForward);

    public IReadOnlyList<string> LauncherAt(string site) => [];

    public string SettingsOf(NodeUnderTest node, int clusterPort, int dataPort)
    {
        if (!node.OverLink) return "";
        var (cluster, data) = (new LinkProxy(() => clusterPort), new LinkProxy(() => dataPort));
        (_proxies[node.Name + ":cluster"], _proxies[node.Name + ":data"]) = ((cluster, node.Site), (data, node.Site));
        return $"advertised {{ cluster-port = {cluster.Port}, data-port = {data.Port} }}";
    }

    /// <summary>Bytes pass, or do not, of all ports or of one kind; the others are as they were.</summary>
    internal void Cut(bool toSecondary, bool toPrimary, string? only = null)
    {
        foreach (var (name, (proxy, site)) in _proxies)
        {
            if (only is not null && !name.EndsWith($":{only}", StringComparison.Ordinal)) continue;
            var atSecondary = site == SitesUnderTest.Secondary;
            proxy.Open(((atSecondary ? toSecondary : toPrimary) ? LinkWays.None : LinkWays.Forward) | ((atSecondary ? toPrimary : toSecondary) ? LinkWays.None : LinkWays.Backward));
        }
    }

    public Task CutAsync(bool toSecondary, bool toPrimary, string? only = null)
    {
        Cut(toSecondary, toPrimary, only);
        return Task.CompletedTask;
    }

    public Task HealAsync() => CutAsync(toSecondary: false, toPrimary: false);

    public async ValueTask DisposeAsync()
    {
        foreach (var (proxy, _) in _proxies.Values) await proxy.DisposeAsync();
    }
}
