using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Node.Http;

public sealed record VaultBody(string? Name, string SourceSite, string TargetSite);

public sealed record CloudBody(string? Name, string Site, string Policy);

public sealed record RecoveryPointSchedule(TimeSpan? CrashConsistentEvery = null, TimeSpan? ApplicationConsistentEvery = null);

/// <param name="Every">One point in so much time, beyond what the window or the tier before it keeps.</param>
/// <param name="KeepFor">Up to this age.</param>
public sealed record RetentionTierBody(TimeSpan Every, TimeSpan KeepFor);

/// <param name="Encrypted">With a key of each machine's own, which its master target wraps by siterecovery.master-target.store-key-file or store-key-command.</param>
public sealed record RetentionBody(TimeSpan? Window = null, long? MaxBytes = null, IReadOnlyList<RetentionTierBody>? Tiers = null, bool? Encrypted = null);

public sealed record ResynchronizationBody(ResynchronizationWindow? Window = null);

/// <summary>What is left out takes the default.</summary>
public sealed record PolicyBody(
    string? Name = null, TimeSpan? RpoThreshold = null, string? CopyFrequency = null, RecoveryPointSchedule? RecoveryPoints = null,
    RetentionBody? Retention = null, string? Compression = null, ResynchronizationBody? Resynchronization = null, TimeSpan? CommitAfter = null,
    bool? StopFencedMachine = null)
{
    public static PolicyBody Of(NamedPolicy named)
    {
        var policy = named.Policy;
        return new(named.Name, policy.RpoThreshold, policy.CopyFrequency is { } every ? JsonForms.Text(every) : "continuous",
            new RecoveryPointSchedule(policy.CrashConsistentEvery, policy.ApplicationConsistentEvery),
            new RetentionBody(policy.RetentionWindow, policy.RetentionBytesMax, policy.RetentionTiers?.Items.Select(t => new RetentionTierBody(t.Every, t.KeepFor)).ToArray(), policy.RetentionEncrypted), policy.Compression, new ResynchronizationBody(policy.ResynchronizationWindow), policy.CommitAfter, policy.StopFencedMachine);
    }

    public ReplicationPolicy ToPolicy()
    {
        var standard = ReplicationPolicy.Default;
        return new ReplicationPolicy(
            RpoThreshold ?? standard.RpoThreshold,
            CopyFrequency is null or "continuous" ? null
                : JsonForms.Duration(CopyFrequency) ?? throw ProblemException.Invalid($"copyFrequency is '{CopyFrequency}'.", "Give 'continuous' or a duration from 5s to 15m."),
            RecoveryPoints?.CrashConsistentEvery ?? standard.CrashConsistentEvery,
            RecoveryPoints?.ApplicationConsistentEvery,
            Retention?.Window ?? standard.RetentionWindow, Retention?.MaxBytes,
            Compression ?? standard.Compression, Resynchronization?.Window ?? standard.ResynchronizationWindow, CommitAfter, StopFencedMachine ?? standard.StopFencedMachine,
            RetentionTiers.Of(Retention?.Tiers?.Select(t => new RetentionTier(t.Every, t.KeepFor))), Retention?.Encrypted ?? standard.RetentionEncrypted);
    }
}

public static class VaultRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map(api, new NamedKind<VaultBody>(
        "vault", "vaults",
        view => view.Vaults.Select(v => KeyValuePair.Create(v.Name, new VaultBody(v.Name, v.SourceSite.Value, v.TargetSite.Value))),
        (by, name, body) => new SaveVault(by, new Vault(name, new SiteName(body.SourceSite ?? ""), new SiteName(body.TargetSite ?? ""))),
        (by, name) => new RemoveVault(by, name))
    {
        Before = FreeNamesAsync,
    });

    private static Task FreeNamesAsync(ControlPlane control, ConfigurationView configuration, string by, string name, VaultBody? body, CancellationToken cancel) =>
        body is not null && configuration.Vaults.Any(v => v.Name == name && v.SourceSite.Value == body.SourceSite && v.TargetSite.Value == body.TargetSite) ? Task.CompletedTask
            : control.FreeNamesAsync(by, configuration.Machines.Where(m => m.Vault == name), cancel);
}

public static class PolicyRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map(api, new NamedKind<PolicyBody>(
        "policy", "policies",
        view => view.Policies.Select(p => KeyValuePair.Create(p.Name, PolicyBody.Of(p))),
        (by, name, body) => new SavePolicy(by, name, Supported(body.ToPolicy())),
        (by, name) => new RemovePolicy(by, name))
    {
        Saved = (control, configuration, name) => control.TellPolicy(configuration, name),
    });

    /// <summary>What would be promised and not done. A value that is none is refused as such.</summary>
    private static ReplicationPolicy Supported(ReplicationPolicy policy)
    {
        if (policy.Problems().Any()) return policy;
        if (policy.ApplicationConsistentEvery is not null)
            throw new ProblemException(501, RefusalCode.NotYetSupported, "This version cannot make a guest's applications consistent yet: recoveryPoints.applicationConsistentEvery.", "Leave it out; points are crash-consistent.");
        if (policy.CopyFrequency is not null)
            throw new ProblemException(501, RefusalCode.NotYetSupported, "This version has no source that is copied now and then yet: copyFrequency.", "Give continuous, or leave it out.");
        return policy;
    }
}

public static class CloudRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map(api, new NamedKind<CloudBody>(
        "cloud", "clouds",
        view => view.Clouds.Select(c => KeyValuePair.Create(c.Name, new CloudBody(c.Name, c.Site.Value, c.Policy))),
        (by, name, body) => string.IsNullOrWhiteSpace(body.Site) || string.IsNullOrWhiteSpace(body.Policy)
            ? throw ProblemException.Invalid("A cloud needs a site and a policy.", "Give both.")
            : new SaveCloud(by, new Cloud(name, new SiteName(body.Site), body.Policy)),
        (by, name) => new RemoveCloud(by, name)));
}
