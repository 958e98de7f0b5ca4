namespace SiteRecovery.Actors.MasterTargets;

/// <summary>The names that were added last; safe for all threads.</summary>
/// <param name="most">How many are kept.</param>
internal sealed class RecentNames(int most)
{
    private readonly Lock _gate = new();
    private readonly HashSet<string> _names = [];
    private readonly Queue<string> _inTurn = [];

    internal void Add(string name)
    {
        lock (_gate)
        {
            if (!_names.Add(name)) return;
            _inTurn.Enqueue(name);
            if (_inTurn.Count > most) _names.Remove(_inTurn.Dequeue());
        }
    }

    internal bool Contains(string name)
    {
        lock (_gate) return _names.Contains(name);
    }
}
