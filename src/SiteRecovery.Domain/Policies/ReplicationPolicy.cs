using System.Text.Json.Serialization;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Policies;

/// <summary>Automatic: a divergence starts it at once. Manual: it waits for an operator.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ResynchronizationWindow>))]
public enum ResynchronizationWindow
{
    [JsonStringEnumMemberName("automatic")] Automatic,
    [JsonStringEnumMemberName("manual")] Manual,
}

/// <param name="Setting">The property, as the API spells it.</param>
public sealed record PolicyProblem(string Setting, string Problem, string Remedy);

/// <param name="RpoThreshold">The objective: health warns from twice, and is critical from three times this.</param>
/// <param name="CopyFrequency">Null: continuous. Otherwise how often a host-tracked source is copied.</param>
/// <param name="ApplicationConsistentEvery">Null: none are made.</param>
/// <param name="RetentionBytesMax">Null: the window alone decides.</param>
/// <param name="RetentionTiers">What stays beyond the window; null: nothing.</param>
/// <param name="RetentionEncrypted">What the target keeps is encrypted, with a key of the machine's own.</param>
/// <param name="CommitAfter">How long after the replica has started a failover commits itself; null: an operator commits.</param>
/// <param name="StopFencedMachine">An old primary that returns has its machine stopped by force, instead of only having its writes refused.</param>
/// <param name="Compression">"zstd", "lz4" or "none".</param>
public sealed record ReplicationPolicy(
    TimeSpan RpoThreshold,
    TimeSpan? CopyFrequency,
    TimeSpan CrashConsistentEvery,
    TimeSpan? ApplicationConsistentEvery,
    TimeSpan RetentionWindow,
    long? RetentionBytesMax,
    string Compression,
    ResynchronizationWindow ResynchronizationWindow,
    TimeSpan? CommitAfter = null,
    bool StopFencedMachine = false,
    RetentionTiers? RetentionTiers = null,
    bool RetentionEncrypted = false)
{
    public static ReplicationPolicy Default { get; } = new(
        RpoThreshold: TimeSpan.FromSeconds(30),
        CopyFrequency: null,
        CrashConsistentEvery: TimeSpan.FromSeconds(5),
        ApplicationConsistentEvery: null,
        RetentionWindow: TimeSpan.FromHours(24),
        RetentionBytesMax: null,
        Compression: "zstd",
        ResynchronizationWindow: ResynchronizationWindow.Automatic);

    public static TimeSpan CopyFrequencyMin { get; } = TimeSpan.FromSeconds(5);
    public static TimeSpan CopyFrequencyMax { get; } = TimeSpan.FromMinutes(15);
    public static TimeSpan PointIntervalMin { get; } = TimeSpan.FromSeconds(1);
    public static TimeSpan PointIntervalMax { get; } = TimeSpan.FromHours(24);
    public static TimeSpan RetentionWindowMax { get; } = TimeSpan.FromDays(3660);
    public const int RetentionTiersMax = 8;

    /// <summary>1 GiB: below it a busy disk would keep no point at all.</summary>
    public const long RetentionBytesMaxLeast = 1L << 30;

    /// <summary>What is wrong with it, for the operator; empty when it can be used.</summary>
    public IEnumerable<PolicyProblem> Problems()
    {
        if (RpoThreshold < TimeSpan.FromSeconds(1) || RpoThreshold > TimeSpan.FromDays(1))
            yield return new("rpoThreshold", $"{RpoThreshold} is out of range.", "Choose 1s to 24h.");
        if (CopyFrequency is { } copy && (copy < CopyFrequencyMin || copy > CopyFrequencyMax))
            yield return new("copyFrequency", $"{copy} is out of range.", "Choose 'continuous' or 5s to 15m.");
        if (CrashConsistentEvery < PointIntervalMin || CrashConsistentEvery > PointIntervalMax)
            yield return new("recoveryPoints.crashConsistentEvery", $"{CrashConsistentEvery} is out of range.", "Choose 1s to 24h.");
        if (ApplicationConsistentEvery is { } application && (application < TimeSpan.FromMinutes(1) || application > PointIntervalMax))
            yield return new("recoveryPoints.applicationConsistentEvery", $"{application} is out of range.", "Choose 1m to 24h, or leave it out.");
        if (RetentionWindow <= TimeSpan.Zero || RetentionWindow > RetentionWindowMax)
            yield return new("retention.window", $"{RetentionWindow} is out of range.", "Choose more than 0 and at most 3660d.");
        else if (RetentionWindow < CrashConsistentEvery)
            yield return new("retention.window", "It is shorter than the time between two points, so that no point would be kept.", "Lengthen the window, or make points more often.");
        if (RetentionBytesMax is < RetentionBytesMaxLeast)
            yield return new("retention.maxBytes", $"{RetentionBytesMax} bytes are too few.", "Choose at least 1 GiB, or leave it out.");
        foreach (var problem in TierProblems()) yield return problem;
        if (CommitAfter is { } commit && (commit < TimeSpan.FromMinutes(1) || commit > TimeSpan.FromDays(30)))
            yield return new("commitAfter", $"{commit} is out of range.", "Choose 1m to 30d, or leave it out to commit by hand.");
        if (Compression is not ("zstd" or "lz4" or "none"))
            yield return new("compression", $"'{Compression}' is unknown.", "Choose 'zstd', 'lz4' or 'none'.");
        if (CrashConsistentEvery > RpoThreshold || CopyFrequency > RpoThreshold)
            yield return new("rpoThreshold", "Points are made less often than the objective asks, so that it could never be met.", "Raise the threshold, or make points more often.");
    }

    private IEnumerable<PolicyProblem> TierProblems()
    {
        if (RetentionTiers is not { } tiers) yield break;
        if (tiers.Items.Length > RetentionTiersMax) yield return new("retention.tiers", $"{tiers.Items.Length} tiers are too many.", $"Give at most {RetentionTiersMax}.");
        var (every, keptFor, before) = (TimeSpan.Zero, RetentionWindow, "the window");
        for (var i = 0; i < tiers.Items.Length; i++)
        {
            var (tier, setting) = (tiers.Items[i], $"retention.tiers[{i}]");
            if (tier.Every < PointIntervalMin || tier.Every > RetentionWindowMax) yield return new(setting + ".every", $"{Durations.Text(tier.Every)} is out of range.", "Choose 1s to 3660d.");
            else if (tier.Every <= every) yield return new(setting + ".every", $"{Durations.Text(tier.Every)} is no longer than that of the tier before it, so that it would thin nothing.", "Give the tiers from the finest to the coarsest.");
            else if (tier.KeepFor > RetentionWindowMax) yield return new(setting + ".keepFor", $"{Durations.Text(tier.KeepFor)} is out of range.", "Choose at most 3660d.");
            else if (tier.KeepFor - keptFor < tier.Every)
                yield return new(setting + ".keepFor", $"Between {before}, {Durations.Text(keptFor)}, and {Durations.Text(tier.KeepFor)} there is no room for one point every {Durations.Text(tier.Every)}.", "Lengthen keepFor: it counts from now, as the window does.");
            (every, keptFor, before) = (tier.Every, tier.KeepFor, "the tier before it");
        }
    }
}
