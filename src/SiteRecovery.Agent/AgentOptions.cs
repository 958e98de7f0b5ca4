using System.Net;

namespace SiteRecovery.Agent;

/// <param name="DataFolder">Identity, bitmaps, capture state and the NBD socket live here.</param>
/// <param name="NbdListen">Where hypervisors on other hosts open the disks, over TLS with a certificate of the cluster's authority; null: only the unix socket is served.</param>
/// <param name="JoinUrl">A configuration server; needed until the agent has an identity.</param>
public sealed record AgentOptions(string DataFolder, string? JoinUrl, string? TokenFile, string Name, IPEndPoint? NbdListen = null);

/// <summary>What stops the agent and what the operator can do about it, in one sentence each.</summary>
public sealed class AgentProblem(string message, bool isUsage = false, Exception? cause = null) : Exception(message, cause)
{
    public bool IsUsage { get; } = isUsage;
}
