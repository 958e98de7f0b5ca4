using System.Globalization;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>How often a story is told: a few times by default, as often as SITERECOVERY_ROUNDS says in a long run.</summary>
internal static class Rounds
{
    internal static int Wanted(int byDefault) =>
        Environment.GetEnvironmentVariable("SITERECOVERY_ROUNDS") is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : byDefault;
}
