using System.Collections.Frozen;
using System.Runtime.Serialization;
using System.Text.Json;
using Akka.Actor;
using Akka.Serialization;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Actors.Serialization;

/// <summary>
/// Persisted events as JSON under versioned manifests that do not depend on type names, so that a rename in the code
/// cannot break a journal. A changed shape gets a new manifest; the old row stays and is read for ever.
/// </summary>
public sealed class EventSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public static FrozenDictionary<string, Type> Types { get; } = new Dictionary<string, Type>
    {
        ["machine.protection-enabled.v1"] = typeof(ProtectionEnabled),
        ["machine.policy-changed.v1"] = typeof(PolicyChanged),
        ["machine.synchronization-finished.v1"] = typeof(SynchronizationFinished),
        ["machine.protection-paused.v1"] = typeof(ProtectionPaused),
        ["machine.protection-resumed.v1"] = typeof(ProtectionResumed),
        ["machine.divergence-detected.v1"] = typeof(DivergenceDetected),
        ["machine.resynchronization-started.v1"] = typeof(ResynchronizationStarted),
        ["machine.failover-started.v1"] = typeof(FailoverStarted),
        ["machine.failover-epoch-opened.v1"] = typeof(FailoverEpochOpened),
        ["machine.replica-started.v1"] = typeof(ReplicaStarted),
        ["machine.replica-moved.v1"] = typeof(ReplicaMoved),
        ["machine.failover-committed.v1"] = typeof(FailoverCommitted),
        ["machine.source-fence-confirmed.v1"] = typeof(SourceFenceConfirmed),
        ["machine.protection-disabled.v1"] = typeof(ProtectionDisabled),
        ["machine.agent-release-confirmed.v1"] = typeof(AgentReleaseConfirmed),
        ["machine.store-removal-confirmed.v1"] = typeof(StoreRemovalConfirmed),
        ["machine.work-failure-noted.v1"] = typeof(WorkFailureNoted),
        ["machine.recovery-point-changed.v1"] = typeof(RecoveryPointChanged),
        ["machine.test-failover-started.v1"] = typeof(TestFailoverStarted),
        ["machine.test-failover-served.v1"] = typeof(TestFailoverServed),
        ["machine.test-cleanup-started.v1"] = typeof(TestCleanupStarted),
        ["machine.test-failover-removed.v1"] = typeof(TestFailoverRemoved),
        ["machine.planned-failover-started.v1"] = typeof(PlannedFailoverStarted),
        ["machine.source-stop-confirmed.v1"] = typeof(SourceStopConfirmed),
        ["machine.source-drain-confirmed.v1"] = typeof(SourceDrainConfirmed),
        ["machine.target-matched.v1"] = typeof(TargetMatched),
        ["machine.target-verification-confirmed.v1"] = typeof(TargetVerificationConfirmed),
        ["machine.planned-failover-rolled-back.v1"] = typeof(PlannedFailoverRolledBack),
        ["machine.failover-cancelled.v1"] = typeof(FailoverCancelled),
        ["machine.store-continuation-confirmed.v1"] = typeof(StoreContinuationConfirmed),
        ["machine.reverse-replication-started.v1"] = typeof(ReverseReplicationStarted),
        ["machine.tail-taken-back.v1"] = typeof(TailTakenBack),
        ["machine.disks-flattened.v1"] = typeof(DisksFlattened),
        ["machine.replica-release-confirmed.v1"] = typeof(ReplicaReleaseConfirmed),
        ["machine.replica-timed.v1"] = typeof(ReplicaTimed),
        ["configuration.vault-saved.v1"] = typeof(VaultSaved),
        ["configuration.vault-removed.v1"] = typeof(VaultRemoved),
        ["configuration.policy-saved.v1"] = typeof(PolicySaved),
        ["configuration.policy-removed.v1"] = typeof(PolicyRemoved),
        ["configuration.cloud-saved.v1"] = typeof(CloudSaved),
        ["configuration.cloud-removed.v1"] = typeof(CloudRemoved),
        ["configuration.network-mapping-saved.v1"] = typeof(NetworkMappingSaved),
        ["configuration.network-mapping-removed.v1"] = typeof(NetworkMappingRemoved),
        ["configuration.machine-listed.v1"] = typeof(MachineListed),
        ["configuration.machine-unlisted.v1"] = typeof(MachineUnlisted),
        ["configuration.token-added.v1"] = typeof(TokenAdded),
        ["configuration.token-revoked.v1"] = typeof(TokenRevoked),
        ["configuration.join-token-added.v1"] = typeof(JoinTokenAdded),
        ["configuration.peer-registered.v1"] = typeof(PeerRegistered),
        ["configuration.nodes-noted.v1"] = typeof(NodesNoted),
        ["configuration.node-forgotten.v1"] = typeof(NodeForgotten),
        ["configuration.audited.v1"] = typeof(Audited),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    // Of two manifests for one type the later is written; the earlier only read.
    private static readonly FrozenDictionary<Type, string> Manifests =
        Types.GroupBy(t => t.Value).ToFrozenDictionary(g => g.Key, g => g.Max(t => t.Key)!);

    public override int Identifier => 7301;

    public override string Manifest(object o) => Manifests.TryGetValue(o.GetType(), out var manifest)
        ? manifest
        : throw new SerializationException($"{o.GetType()} has no manifest: add it to {nameof(EventSerializer)}.{nameof(Types)}.");

    public override byte[] ToBinary(object obj) => JsonSerializer.SerializeToUtf8Bytes(obj, obj.GetType(), Json);

    /// <exception cref="SerializationException">It is no event of this version.</exception>
    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (!Types.TryGetValue(manifest, out var type)) throw new SerializationException($"Unknown event manifest '{manifest}': the journal was written by a newer version.");
        try
        {
            return JsonSerializer.Deserialize(bytes, type, Json) ?? throw new SerializationException($"an event '{manifest}' is null");
        }
        catch (Exception damaged) when (damaged is JsonException or ArgumentException or FormatException or NotSupportedException)
        {
            throw new SerializationException($"an event '{manifest}' of the journal cannot be read: {damaged.Message}", damaged);
        }
    }
}
