namespace SiteRecovery.Simulation.World;

/// <summary>The clock of one host: it may be set, and run fast or slow. What waits on it waits for as long as the world says.</summary>
internal sealed class SimHostClock(SimClock world) : TimeProvider
{
    private TimeSpan _skew, _driftFrom;
    private double _drift;

    public override long TimestampFrequency => world.TimestampFrequency;
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    /// <summary>It was never set, nor fast or slow: its times are the world's.</summary>
    internal bool IsTrue => _skew == TimeSpan.Zero && _drift == 0;

    public override DateTimeOffset GetUtcNow() => world.GetUtcNow() + _skew + (world.Elapsed - _driftFrom) * _drift;

    public override long GetTimestamp() => world.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => world.CreateTimer(callback, state, dueTime, period);

    /// <summary>The time of day is set.</summary>
    internal void Jump(TimeSpan by) => _skew += by;

    /// <summary>From now on it gains so many millionths; less than nothing: it loses them.</summary>
    internal void Drift(int millionths)
    {
        _skew += (world.Elapsed - _driftFrom) * _drift;
        (_driftFrom, _drift) = (world.Elapsed, millionths / 1e6);
    }
}
