namespace SiteRecovery.Agent;

/// <param name="DataFolder">Identity, bitmaps, capture state and the NBD socket live here.</param>
/// <param name="JoinUrl">A configuration server; needed until the agent has an identity.</param>
public sealed record AgentOptions(string DataFolder, string? JoinUrl, string? TokenFile, string Name);

/// <summary>What stops the agent and what the operator can do about it, in one sentence each.</summary>
public sealed class AgentProblem(string message, bool isUsage = false, Exception? cause = null) : Exception(message, cause)
{
    public bool IsUsage { get; } = isUsage;
}
