using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Node.Http;

public sealed record VaultBody(string SourceSite, string TargetSite);

public sealed record CloudBody(string Site, string Policy);

public sealed record RecoveryPointSchedule(TimeSpan? CrashConsistentEvery, TimeSpan? ApplicationConsistentEvery);

public sealed record RetentionBody(TimeSpan? Window, long? MaxBytes);

public sealed record ResynchronizationBody(ResynchronizationWindow? Window);

/// <summary>What is left out takes the default.</summary>
public sealed record PolicyBody(
    TimeSpan? RpoThreshold = null, string? CopyFrequency = null, RecoveryPointSchedule? RecoveryPoints = null,
    RetentionBody? Retention = null, string? Compression = null, ResynchronizationBody? Resynchronization = null)
{
    public ReplicationPolicy ToPolicy()
    {
        var standard = ReplicationPolicy.Default;
        return new ReplicationPolicy(
            RpoThreshold ?? standard.RpoThreshold,
            CopyFrequency is null or "continuous" ? null : JsonForms.Duration(CopyFrequency),
            RecoveryPoints?.CrashConsistentEvery ?? standard.CrashConsistentEvery,
            RecoveryPoints?.ApplicationConsistentEvery,
            Retention?.Window ?? standard.RetentionWindow, Retention?.MaxBytes,
            Compression ?? standard.Compression, Resynchronization?.Window ?? standard.ResynchronizationWindow);
    }

    public (string Problem, string Remedy)? Problem()
    {
        if (CopyFrequency is { } text and not "continuous" && (JsonForms.Duration(text) is not { } every || every < TimeSpan.FromSeconds(5) || every > TimeSpan.FromMinutes(15)))
            return ($"copyFrequency is '{text}'.", "Give 'continuous' or a duration from 5s to 15m.");
        if (Compression is not (null or "zstd" or "lz4" or "none")) return ($"compression is '{Compression}'.", "Give zstd, lz4 or none.");
        var policy = ToPolicy();
        if (policy.RpoThreshold <= TimeSpan.Zero) return ("rpoThreshold must be longer than nothing.", "Give a duration such as 30s.");
        if (policy.CrashConsistentEvery <= TimeSpan.Zero) return ("recoveryPoints.crashConsistentEvery must be longer than nothing.", "Give a duration such as 5s.");
        if (policy.RetentionWindow < policy.CrashConsistentEvery) return ("retention.window is shorter than the distance of recovery points.", "Make the window longer, for example 24h.");
        return null;
    }
}

public static class VaultRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map<VaultBody>(api, "vault", "vaults", (name, body) =>
        new Vault(name, new SiteName(body.SourceSite), new SiteName(body.TargetSite)).Problems().FirstOrDefault() is { } problem
            ? (problem, "Name two different sites: GET /api/v1/sites.") : null);
}

public static class PolicyRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map<PolicyBody>(api, "policy", "policies", (_, body) => body.Problem());
}

public static class CloudRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map<CloudBody>(api, "cloud", "clouds", (_, body) =>
        string.IsNullOrWhiteSpace(body.Site) || string.IsNullOrWhiteSpace(body.Policy) ? ("A cloud needs a site and a policy.", "Give both.") : null);
}
