using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Node.Bench;

/// <summary>A benchmark's own folder, with an authority of its own, gone at the end.</summary>
public sealed class Workspace : IDisposable
{
    private readonly Authority _authority;

    /// <param name="parent">A folder on the disk that is to be measured.</param>
    public Workspace(string parent)
    {
        Root = Path.Combine(Path.GetFullPath(parent), "siterecovery-bench-" + Guid.NewGuid().ToString("N")[..8]);
        Directory.CreateDirectory(Root);
        _authority = Authority.Create(At("pki"), "bench", TimeProvider.System);
        Target = _authority.IssueInto(At("target"), "target", PeerRole.Node);
        Agent = _authority.IssueInto(At("agent"), "agent", PeerRole.Agent);
    }

    public string Root { get; }
    public PeerIdentity Target { get; }
    public PeerIdentity Agent { get; }

    public string At(string name) => Path.Combine(Root, name);

    public void Dispose()
    {
        Target.Dispose();
        Agent.Dispose();
        _authority.Dispose();
        Directory.Delete(Root, recursive: true);
    }
}
