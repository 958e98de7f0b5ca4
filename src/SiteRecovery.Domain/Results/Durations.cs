using System.Globalization;

namespace SiteRecovery.Domain.Results;

/// <summary>How long something takes, for people: as exact as they care for.</summary>
public static class Durations
{
    /// <summary>"4.2s", "63s", "12m05s", "3h20m", "41d16h".</summary>
    public static string Text(TimeSpan span) => span switch
    {
        { TotalSeconds: < 10 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.0}s"),
        { TotalMinutes: < 2 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0}s"),
        { TotalHours: < 2 } => string.Create(CultureInfo.InvariantCulture, $"{(int)span.TotalMinutes}m{span.Seconds:00}s"),
        { TotalDays: < 2 } => string.Create(CultureInfo.InvariantCulture, $"{(int)span.TotalHours}h{span.Minutes:00}m"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{span.Days}d{span.Hours:00}h"),
    };
}
