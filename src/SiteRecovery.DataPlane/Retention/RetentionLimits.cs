using SiteRecovery.Domain.Policies;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>How much history a store keeps.</summary>
/// <param name="Window">Every position that is younger, counted back from the newest one: a store that hears nothing forgets nothing.</param>
/// <param name="BytesMax">Of the log, also where that shortens the window; null: the window and the tiers alone decide.</param>
/// <param name="Tiers">What stays beyond the window; null: nothing.</param>
public sealed record RetentionLimits(TimeSpan Window, long? BytesMax, RetentionTiers? Tiers = null)
{
    /// <summary>What is older goes altogether.</summary>
    internal TimeSpan Longest => Tiers?.Items[^1].KeepFor ?? Window;

    /// <summary>The slot of a time, of which one position stays; null where all of them stay, or not all have come that may be older than what stays.</summary>
    internal (TimeSpan Every, DateTimeOffset End)? SlotAt(DateTimeOffset time, DateTimeOffset newest)
    {
        if (Tiers is null || time >= newest) return null;
        for (var i = Tiers.Items.Length - 1; i >= 0; i--)
        {
            var (every, young) = (Tiers.Items[i].Every, i == 0 ? Window : Tiers.Items[i - 1].KeepFor);
            var begun = time.UtcTicks - time.UtcTicks % every.Ticks;
            if (every.Ticks <= newest.UtcTicks - begun - young.Ticks) return (every, new DateTimeOffset(begun + every.Ticks, TimeSpan.Zero));
        }
        return null;
    }
}
