using SiteRecovery.Cli.Output;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Cli;

/// <summary>A recovery point as people name it.</summary>
internal static class PointText
{
    public const string Description = "latest, latest-application-consistent, an id such as e1-s42, or at:TIME, such as at:2026-01-31T03:00:00Z";

    /// <summary>Says what a time without a zone is read as.</summary>
    /// <exception cref="CommandProblem">It names none.</exception>
    public static PointSelector Read(string text)
    {
        var selector = PointSelector.Parse(text) ?? throw CommandProblem.Usage($"'{text}' names no recovery point", $"Give {PointSelector.Forms}.");
        if (selector is PointSelector.AtTime at && PointSelector.IsTimeWithoutZone(text)) Session.Say($"'{text}' names no zone and is read as UTC: {Forms.Time(at.Time)}");
        return selector;
    }
}
