using System.Net;

namespace SiteRecovery.Agent;

/// <param name="DataFolder">Identity, bitmaps, capture state and the NBD socket live here.</param>
/// <param name="NbdListen">Where hypervisors on other hosts open the disks, over TLS with a certificate of the cluster's authority; null: only the unix socket is served.</param>
/// <param name="AskAfterBoot">For how long writes wait after a boot of this host until somebody says that no replica of the machine runs elsewhere; infinite: for ever; null: <see cref="AskAfterBootDefault"/>.</param>
/// <param name="JoinUrl">A configuration server; needed until the agent has an identity.</param>
public sealed record AgentOptions(string DataFolder, string? JoinUrl, string? TokenFile, string Name, IPEndPoint? NbdListen = null, TimeSpan? AskAfterBoot = null)
{
    /// <summary>Longer than a whole site takes to come back and be told, and short enough for a machine to boot late.</summary>
    public static TimeSpan AskAfterBootDefault { get; } = TimeSpan.FromSeconds(60);
}

/// <summary>What stops the agent and what the operator can do about it, in one sentence each.</summary>
public sealed class AgentProblem(string message, bool isUsage = false, Exception? cause = null) : Exception(message, cause)
{
    public bool IsUsage { get; } = isUsage;
}
