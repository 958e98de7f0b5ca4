using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>A point that an operator has asked to keep is there, whatever the retention says, for as long as the protection is.</summary>
internal sealed class KeptPoints(SimMachine machine)
{
    private readonly Dictionary<string, (Epoch Since, HashSet<string> Points)> _kept = [];
    private readonly HashSet<Epoch> _doubtful = []; // protections
    private Epoch? _since;

    /// <summary>When the protection began; also while the configuration server is down, which an operator does not need to keep a point, nor to see it go down over it.</summary>
    private Epoch? Since => _since = machine.State is { } state ? state.Protection?.Since : _since;

    internal void Note(string host, RecoveryPoint point, bool keep)
    {
        if (Since is not { } since) return;
        if (!_kept.TryGetValue(host, out var kept) || kept.Since != since) _kept[host] = kept = (since, []);
        if (keep) kept.Points.Add(point.Id);
        else kept.Points.Remove(point.Id);
    }

    /// <summary>At any host, in any protection; or it was asked for and answered with an error, and may be so all the same.</summary>
    internal bool AreAny => _doubtful.Any(d => d == Since) || _kept.Values.Any(k => k.Points.Count > 0);

    internal void Doubt()
    {
        if (Since is { } since) _doubtful.Add(since);
    }

    internal void Check(RetentionStore store, string host)
    {
        _ = Since;
        if (machine.Sites.Rot.WasAt(host) || !_kept.TryGetValue(host, out var kept) || machine.State?.Protection?.Since != kept.Since) return;
        foreach (var point in kept.Points)
            if (store.ResolvePoint(new PointSelector.ById(point)) is null) throw new SimViolation("never silently wrong", $"{point} was to be kept at {host}, and is not there");
    }
}
