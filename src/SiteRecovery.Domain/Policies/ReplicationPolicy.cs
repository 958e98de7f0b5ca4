using System.Text.Json.Serialization;

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
/// <param name="Compression">"zstd", "lz4" or "none".</param>
public sealed record ReplicationPolicy(
    TimeSpan RpoThreshold,
    TimeSpan? CopyFrequency,
    TimeSpan CrashConsistentEvery,
    TimeSpan? ApplicationConsistentEvery,
    TimeSpan RetentionWindow,
    long? RetentionBytesMax,
    string Compression,
    ResynchronizationWindow ResynchronizationWindow)
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
}
