namespace SiteRecovery.Simulation.World;

/// <summary>Virtual time. It passes when somebody says so; timers fire on whoever lets it pass. Safe for concurrent calls.</summary>
public sealed class SimClock : TimeProvider
{
    public static readonly DateTimeOffset Epoch = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly Lock _gate = new();
    private readonly PriorityQueue<(SimTimer Timer, long Round), (long At, long Order)> _due = new();
    private long _ticks, _order;
    private TimeSpan _skew;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;
    /// <summary>Since the beginning.</summary>
    public TimeSpan Elapsed => new(Volatile.Read(ref _ticks));

    public override DateTimeOffset GetUtcNow()
    {
        lock (_gate) return Epoch + new TimeSpan(_ticks) + _skew;
    }

    public override long GetTimestamp() => Volatile.Read(ref _ticks);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new SimTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>The time of day is set; nothing that waits is touched.</summary>
    public void Jump(TimeSpan by)
    {
        lock (_gate) _skew += by;
    }

    /// <summary>Time passes inside of what runs now; timers that are due meanwhile fire later.</summary>
    public void Spend(TimeSpan time)
    {
        lock (_gate) _ticks += time.Ticks;
    }

    /// <summary>Goes on to the next timer that is due until then, and fires it. False: there is none, and it is then now.</summary>
    public bool Next(TimeSpan until)
    {
        SimTimer? timer = null;
        lock (_gate)
        {
            while (timer is null && _due.TryPeek(out var next, out var at) && at.At <= until.Ticks)
            {
                _due.Dequeue();
                if (next.Timer.Round != next.Round) continue;
                _ticks = Math.Max(_ticks, at.At);
                timer = next.Timer;
                timer.Round++;
                if (timer.Period > TimeSpan.Zero) Schedule(timer, timer.Period);
            }
            if (timer is null) _ticks = Math.Max(_ticks, until.Ticks);
        }
        timer?.Fire();
        return timer is not null;
    }

    // Under the gate.
    private void Schedule(SimTimer timer, TimeSpan due) => _due.Enqueue((timer, timer.Round), (_ticks + Math.Max(0, due.Ticks), _order++));

    private sealed class SimTimer(SimClock clock, TimerCallback callback, object? state) : ITimer
    {
        internal long Round { get; set; }
        internal TimeSpan Period { get; private set; }

        internal void Fire() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (clock._gate)
            {
                Round++;
                Period = period;
                if (dueTime >= TimeSpan.Zero) clock.Schedule(this, dueTime);
            }
            return true;
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
