namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>So many days from now.</summary>
internal sealed class ClockAt(int days) : TimeProvider
{
    public override DateTimeOffset GetUtcNow() => System.GetUtcNow().AddDays(days);
}
