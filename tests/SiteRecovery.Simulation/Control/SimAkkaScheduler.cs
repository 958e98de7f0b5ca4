using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Control;

/// <summary>The actors' timers on virtual time.</summary>
internal sealed class SimAkkaScheduler : SchedulerBase
{
    [ThreadStatic] private static SimClock? _clockOfNext;
    private readonly SimClock _clock;

    public SimAkkaScheduler(Config config, ILoggingAdapter log) : base(config, log) => _clock = _clockOfNext ?? throw new InvalidOperationException($"made by {nameof(With)} only");

    /// <summary>Makes an actor system on a clock; on the thread that calls.</summary>
    internal static ActorSystem With(SimClock clock, Func<ActorSystem> make)
    {
        _clockOfNext = clock;
        try
        {
            return make();
        }
        finally
        {
            _clockOfNext = null;
        }
    }

    public override TimeSpan MonotonicClock => _clock.Elapsed;
    public override TimeSpan HighResMonotonicClock => _clock.Elapsed;
    protected override DateTimeOffset TimeNow => _clock.GetUtcNow();

    protected override void InternalScheduleTellOnce(TimeSpan delay, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Schedule(delay, Timeout.InfiniteTimeSpan, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleTellRepeatedly(TimeSpan initialDelay, TimeSpan interval, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Schedule(initialDelay, interval, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, Action action, ICancelable cancelable) => Schedule(delay, Timeout.InfiniteTimeSpan, action, cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, IRunnable action, ICancelable cancelable) => Schedule(delay, Timeout.InfiniteTimeSpan, action.Run, cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, Action action, ICancelable cancelable) => Schedule(initialDelay, interval, action, cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, IRunnable action, ICancelable cancelable) => Schedule(initialDelay, interval, action.Run, cancelable);

    private void Schedule(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable)
    {
        if (cancelable?.IsCancellationRequested == true) return;
        ITimer? timer = null;
        timer = _clock.CreateTimer(_ =>
        {
            if (cancelable?.IsCancellationRequested == true) timer?.Dispose();
            else action();
        }, null, delay, interval);
    }
}
