using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class PolicyCommands
{
    public static readonly Resource Policies = new("policy", "policies",
    [
        Column.Of("NAME", "name"), Column.Of("RPO", "rpoThreshold"), Column.Of("FREQUENCY", "copyFrequency"),
        Column.Of("CRASH-CONSISTENT", "recoveryPoints.crashConsistentEvery"), Column.Of("APP-CONSISTENT", "recoveryPoints.applicationConsistentEvery"),
        Column.Of("WINDOW", "retention.window"), new("TIERS", p => string.Join(' ', (p.At("retention.tiers") as JsonArray ?? []).OfType<JsonNode>().Select(t => $"{t.At("every").Text()}={t.At("keepFor").Text()}"))), new("MAX-SIZE", p => Forms.Bytes(p.At("retention.maxBytes"))), Column.Of("COMPRESSION", "compression"), Column.Of("ENCRYPTED", "retention.encrypted"),
        Column.Of("RESYNC", "resynchronization.window", wide: true), Column.Of("COMMIT-AFTER", "commitAfter", wide: true), Column.Of("STOP-FENCED", "stopFencedMachine", wide: true),
    ]);

    public static Command Create() => new("policy", "Replication policies")
    {
        Policies.List(), Policies.ShowWithETag(), Policies.Delete(),
        Policies.Put(
            Setting.Of("--rpo-threshold", "rpoThreshold", "The objective, e.g. 30s; health warns from twice this"),
            Setting.Of("--copy-frequency", "copyFrequency", "continuous, or 5s to 15m"),
            Setting.Of("--crash-consistent-every", "recoveryPoints.crashConsistentEvery", "Time between crash-consistent points, e.g. 5s"),
            Setting.Of("--application-consistent-every", "recoveryPoints.applicationConsistentEvery", "Time between application-consistent points, e.g. 1h", orNone: true),
            Setting.Of("--retention-window", "retention.window", "How long every write is kept, e.g. 24h"),
            Setting.Each("--retention-tier", "retention.tiers", "Beyond the window one point in so much time, up to an age", "EVERY=KEEPFOR, e.g. 1h=24h", Tier),
            Setting.Of("--retention-max-bytes", "retention.maxBytes", "At most so many bytes of history, e.g. 500G", isBytes: true, orNone: true),
            Setting.Whether("--retention-encrypted", "retention.encrypted", "Encrypt what the target keeps; its master target needs a store key"),
            Setting.Of("--compression", "compression", "zstd, lz4 or none"),
            Setting.Of("--resynchronization", "resynchronization.window", "automatic or manual"),
            Setting.Of("--commit-after", "commitAfter", "How long after its replica runs a failover commits itself, e.g. 4h", orNone: true),
            Setting.Whether("--stop-fenced-machine", "stopFencedMachine", "An old primary that returns has its machine stopped by force, and not only its writes refused")),
    };

    private static JsonObject? Tier(string text) =>
        text.Split('=') is [{ Length: > 0 } every, { Length: > 0 } keepFor] ? new JsonObject { ["every"] = every, ["keepFor"] = keepFor } : null;
}
