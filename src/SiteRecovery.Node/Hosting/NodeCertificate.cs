using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>Keeps the node's certificate from running out: where the node holds the authority by that, elsewhere by asking the node that does.</summary>
public sealed class NodeCertificate : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly NodeIdentity _identity;
    private readonly NodeSettings _settings;
    private readonly ClusterHost _cluster;
    private readonly TimeProvider _time;
    private readonly CertificateRenewal _renewal;
    private Task _keeping = Task.CompletedTask;

    public NodeCertificate(DataFolder folder, NodeIdentity identity, NodeSettings settings, ClusterHost cluster, ILogger log, TimeProvider time)
    {
        (_identity, _settings, _cluster, _time) = (identity, settings, cluster, time);
        _renewal = new CertificateRenewal(folder.In("pki"), identity.Peer, SignAsync, time, line => log.LogWarning("{What}", line));
    }

    /// <summary>A first node that was off for long is believed again before anybody asks it.</summary>
    public async Task StartAsync(CancellationToken cancel)
    {
        if (_identity.Authority is not null) await _renewal.TryAsync(cancel);
    }

    public void Keep() => _keeping = _renewal.RunAsync(_cluster.ShowCertificate, _stop.Token);

    private async Task<string> SignAsync(string request, CancellationToken stop) => _identity.Authority is { } authority
        ? authority.Sign(request, _identity.Peer.Self.Name, PeerRole.Node, _settings.Address, _settings.Advertised.Address)
        : await CertificateRenewal.AskAsync(_identity.Peer, await UrlsAsync(stop), request, stop);

    /// <summary>The node that was joined; and those of now, for it may have moved.</summary>
    private async Task<IEnumerable<string>> UrlsAsync(CancellationToken stop)
    {
        IEnumerable<string> joined = _identity.ConfigurationServer is { } url ? [url] : [];
        try
        {
            return joined.Union((await new ControlPlane(_cluster, _settings, _time).GetNodesAsync(stop)).Of(NodeRoles.ConfigurationServer, null).Select(n => n.HttpUrl));
        }
        catch (Exception unknown) when (unknown is ProblemException or Akka.Actor.AskTimeoutException)
        {
            return joined;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _keeping;
        _stop.Dispose();
    }
}
