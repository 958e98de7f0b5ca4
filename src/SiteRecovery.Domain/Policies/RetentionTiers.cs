using System.Collections.Immutable;

namespace SiteRecovery.Domain.Policies;

/// <summary>Beyond what is kept before it one point in so much time, up to an age.</summary>
/// <param name="Every">Slots of this length, counted from 1970 UTC; of each one point stays.</param>
/// <param name="KeepFor">Age up to which they stay.</param>
public sealed record RetentionTier(TimeSpan Every, TimeSpan KeepFor);

/// <summary>The tiers of a retention, the finest first.</summary>
public sealed record RetentionTiers(ImmutableArray<RetentionTier> Items)
{
    public static RetentionTiers? Of(IEnumerable<RetentionTier>? items) => items?.ToImmutableArray() is { Length: > 0 } some ? new(some) : null;

    public bool Equals(RetentionTiers? other) => other is not null && Items.AsSpan().SequenceEqual(other.Items.AsSpan());

    public override int GetHashCode() => Items.Length == 0 ? 0 : HashCode.Combine(Items.Length, Items[0]);

    public override string ToString() => string.Join(", ", Items.Select(t => $"every {t.Every} for {t.KeepFor}"));
}
