using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Configuration;

public enum TokenRole { Viewer, Operator, RecoveryAdmin, Administrator }

public enum PeerKind { Node, Agent }

/// <summary>Only a token's SHA-256 in hex is known here; the token itself never reaches an actor or a journal.</summary>
public sealed record AccessToken(string Name, string Hash, TokenRole Role);

/// <param name="Name">Whom alone it admits, also where there is a peer of that name already; null: whoever bears a name that is new.</param>
public sealed record JoinToken(string Hash, PeerKind Kind, SiteName Site, DateTimeOffset ExpiresAt, string? Name = null);
public sealed record Peer(PeerKind Kind, string Name, SiteName Site, string CertificateSerial, DateTimeOffset Since);
public sealed record NamedPolicy(string Name, ReplicationPolicy Policy);
public sealed record ListedMachine(MachineId Machine, string Vault);
public sealed record AuditEntry(DateTimeOffset At, string By, string Action, string Subject, string Outcome);

// ── Commands: answered with ConfigurationAccepted or ConfigurationRefused, after they are durable ───────────────────

/// <param name="By">Who asks: a token's name, or a peer's.</param>
public abstract record ConfigurationCommand(string By) : IClusterMessage;
public sealed record SaveVault(string By, Vault Vault) : ConfigurationCommand(By);
public sealed record RemoveVault(string By, string Name) : ConfigurationCommand(By);
public sealed record SavePolicy(string By, string Name, ReplicationPolicy Policy) : ConfigurationCommand(By);
public sealed record RemovePolicy(string By, string Name) : ConfigurationCommand(By);
public sealed record SaveCloud(string By, Cloud Cloud) : ConfigurationCommand(By);
public sealed record RemoveCloud(string By, string Name) : ConfigurationCommand(By);
public sealed record SaveNetworkMapping(string By, NetworkMapping Mapping) : ConfigurationCommand(By);
public sealed record RemoveNetworkMapping(string By, string Name) : ConfigurationCommand(By);
public sealed record ListMachine(string By, MachineId Machine, string Vault) : ConfigurationCommand(By);
public sealed record UnlistMachine(string By, MachineId Machine) : ConfigurationCommand(By);
public sealed record AddToken(string By, AccessToken Token) : ConfigurationCommand(By);

/// <summary>The cluster's first token; refused once any token was ever added.</summary>
public sealed record SeedToken(string By, AccessToken Token) : ConfigurationCommand(By);
public sealed record RevokeToken(string By, string Name) : ConfigurationCommand(By);
public sealed record AddJoinToken(string By, JoinToken Token) : ConfigurationCommand(By);

/// <summary>Uses a join token up and registers the peer.</summary>
/// <param name="Site">Where the peer says that it is; null: wherever the token says.</param>
public sealed record RedeemJoinToken(string By, string Hash, PeerKind Kind, string CertificateSerial, SiteName? Site = null) : ConfigurationCommand(By);

/// <summary>These nodes are members; nothing happens where that is known.</summary>
public sealed record NoteNodes(string By, ImmutableArray<KnownNode> Nodes) : ConfigurationCommand(By);

/// <summary>It is not missed any more. One that is a member is noted again at once.</summary>
public sealed record ForgetNode(string By, string Name) : ConfigurationCommand(By);

/// <summary>Notes an action that was carried out elsewhere, such as a machine's.</summary>
public sealed record RecordAudit(string By, string Action, string Subject, string Outcome) : ConfigurationCommand(By);

public abstract record ConfigurationReply : IClusterMessage;

/// <param name="Peer">The peer that a redeemed join token registered.</param>
public sealed record ConfigurationAccepted(Peer? Peer = null) : ConfigurationReply;
public sealed record ConfigurationRefused(string Code, string Reason, string Remedy) : ConfigurationReply;

// ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// <summary>Answered with <see cref="ConfigurationView"/>.</summary>
public sealed record GetConfiguration : IClusterMessage;

public sealed record ConfigurationView(
    ImmutableArray<Vault> Vaults, ImmutableArray<NamedPolicy> Policies, ImmutableArray<Cloud> Clouds,
    ImmutableArray<ListedMachine> Machines, ImmutableArray<Peer> Peers, ImmutableArray<NamedToken> Tokens,
    ImmutableArray<NetworkMapping> NetworkMappings) : IClusterMessage;

/// <summary>Answered with <see cref="KnownNodes"/>.</summary>
public sealed record GetKnownNodes : IClusterMessage;

/// <param name="Nodes">All that were members once.</param>
public sealed record KnownNodes(ImmutableArray<KnownNode> Nodes) : IClusterMessage;

public sealed record NamedToken(string Name, TokenRole Role);

/// <summary>Answered with <see cref="NetworksPlanned"/>: the same order, with the networks of the replica where it serves one.</summary>
/// <param name="Ended">It is no longer wanted. It comes this way too, so that it does not overtake the order itself.</param>
public sealed record PlanNetworks(Work Work, bool Ended) : IClusterMessage;
public sealed record NetworksPlanned(Work Work, bool Ended) : IClusterMessage;

/// <summary>A machine's own question, answered with <see cref="Domain.ProtectedMachines.ChangePolicy"/> where it has another by now, and with nothing where it has not.</summary>
public sealed record GetPolicy(MachineId Machine, string Name, ReplicationPolicy Known) : IClusterMessage;

/// <summary>Answered with <see cref="Listing"/>.</summary>
public sealed record GetListing(MachineId Machine) : IClusterMessage;

/// <param name="Vault">Null: the machine is not listed.</param>
public sealed record Listing(string? Vault) : IClusterMessage;

/// <summary>Answered with <see cref="ListedFound"/> where somebody protects it, else with nothing.</summary>
public sealed record FindListed(MachineId Machine) : IClusterMessage;
public sealed record ListedFound(MachineId Machine) : IClusterMessage;

/// <summary>Answered with <see cref="TokenChecked"/>.</summary>
public sealed record CheckToken(string Hash) : IClusterMessage;

/// <param name="Token">Null: no such token.</param>
public sealed record TokenChecked(AccessToken? Token) : IClusterMessage;

/// <summary>Answered with <see cref="AuditEntries"/>, newest first.</summary>
public sealed record GetAudit(int Limit) : IClusterMessage;
public sealed record AuditEntries(ImmutableArray<AuditEntry> Entries) : IClusterMessage;

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

public abstract record ConfigurationEvent(DateTimeOffset At, string By);
public sealed record VaultSaved(DateTimeOffset At, string By, Vault Vault) : ConfigurationEvent(At, By);
public sealed record VaultRemoved(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record PolicySaved(DateTimeOffset At, string By, string Name, ReplicationPolicy Policy) : ConfigurationEvent(At, By);
public sealed record PolicyRemoved(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record CloudSaved(DateTimeOffset At, string By, Cloud Cloud) : ConfigurationEvent(At, By);
public sealed record CloudRemoved(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record NetworkMappingSaved(DateTimeOffset At, string By, NetworkMapping Mapping) : ConfigurationEvent(At, By);
public sealed record NetworkMappingRemoved(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record MachineListed(DateTimeOffset At, string By, MachineId Machine, string Vault) : ConfigurationEvent(At, By);
public sealed record MachineUnlisted(DateTimeOffset At, string By, MachineId Machine) : ConfigurationEvent(At, By);
public sealed record TokenAdded(DateTimeOffset At, string By, AccessToken Token) : ConfigurationEvent(At, By);
public sealed record TokenRevoked(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record JoinTokenAdded(DateTimeOffset At, string By, JoinToken Token) : ConfigurationEvent(At, By);

/// <param name="TokenHash">The join token that is used up by it.</param>
public sealed record PeerRegistered(DateTimeOffset At, string By, string TokenHash, Peer Peer) : ConfigurationEvent(At, By);

/// <param name="Nodes">Those that are new, or elsewhere.</param>
public sealed record NodesNoted(DateTimeOffset At, string By, ImmutableArray<KnownNode> Nodes) : ConfigurationEvent(At, By);
public sealed record NodeForgotten(DateTimeOffset At, string By, string Name) : ConfigurationEvent(At, By);
public sealed record Audited(DateTimeOffset At, string By, string Action, string Subject, string Outcome) : ConfigurationEvent(At, By);
