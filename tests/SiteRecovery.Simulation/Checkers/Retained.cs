using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A point that is durable stays until the retention says otherwise, as long as its epoch is the newest one, no disk has rotted and no clock was ever wrong.</summary>
internal sealed class Retained(SimMachine machine)
{
    /// <summary>What the store's clock and the point's may be apart.</summary>
    private static readonly TimeSpan Apart = TimeSpan.FromSeconds(5);
    private readonly Dictionary<string, (Epoch? Since, Epoch Epoch, Dictionary<string, DateTimeOffset> Points)> _seen = [];

    internal void Check(RetentionStore store, string host)
    {
        if (machine.Sites.Rot.WasAt(host) || machine.Sites.Hosts.Any(h => !h.Clock.IsTrue) || machine.State is not { } state) return;
        if (!_seen.TryGetValue(host, out var seen) || seen.Since != state.Protection?.Since || seen.Epoch != store.CurrentEpoch)
            _seen[host] = seen = (state.Protection?.Since, store.CurrentEpoch, []);
        foreach (var (point, at) in seen.Points.ToArray())
        {
            if (store.CurrentAsOf - at >= machine.Sites.Script.Policy.RetentionWindow - Apart) seen.Points.Remove(point);
            else if (store.ResolvePoint(new PointSelector.ById(point)) is null) throw new SimViolation("never silently wrong", $"{point} of {at:mm:ss} was durable at {host} and is gone, at {store.CurrentAsOf:mm:ss}");
        }
        foreach (var point in store.Points)
            if (point.Epoch == store.CurrentEpoch && point.Sequence <= store.DurableSequence) seen.Points.TryAdd(point.Id, point.At);
    }
}
