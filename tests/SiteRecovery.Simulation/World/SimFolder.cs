namespace SiteRecovery.Simulation.World;

/// <summary>A change of a folder that was not flushed: a name is given to a node, taken from it (no node), or another name takes its place.</summary>
/// <param name="Move">What it is one half of; null: it stands alone.</param>
internal readonly record struct EntryChange(string Name, SimNode? Node, string? From, Move? Move = null)
{
    internal void ApplyTo(SortedDictionary<string, SimNode> entries)
    {
        if (From is not null && entries.TryGetValue(From, out var former) && former == Node) entries.Remove(From);
        if (Node is null) entries.Remove(Name);
        else entries[Name] = Node;
    }
}

/// <summary>From one folder to another: a file system's journal has both halves or none, and either folder's flush makes both durable.</summary>
internal sealed class Move
{
    internal bool IsDurable { get; set; }
    private bool? _survives;

    internal bool Survives(Random random) => IsDurable || (_survives ??= random.Next(2) == 0);
}

internal sealed class SimFolder : SimNode
{
    internal SortedDictionary<string, SimNode> Live { get; } = new(StringComparer.Ordinal);
    internal SortedDictionary<string, SimNode> Durable { get; } = new(StringComparer.Ordinal);
    internal List<EntryChange> Pending { get; } = [];

    internal void Change(EntryChange change)
    {
        change.ApplyTo(Live);
        Pending.Add(change);
    }

    internal void Flush()
    {
        foreach (var change in Pending)
        {
            change.ApplyTo(Durable);
            if (change.Move is { } move) move.IsDurable = true;
        }
        Pending.Clear();
    }

    /// <summary>The names that a loss of power leaves.</summary>
    internal SortedDictionary<string, SimNode> Survivors(Fate fate, Random random)
    {
        var entries = new SortedDictionary<string, SimNode>(Durable, StringComparer.Ordinal);
        var whole = fate switch { Fate.Kept => Pending.Count, Fate.Prefix => random.Next(Pending.Count + 1), _ => 0 };
        for (var i = 0; i < Pending.Count; i++)
            if (Pending[i].Move is { } move ? move.Survives(random) : i < whole || (fate == Fate.Scattered && random.Next(2) == 0)) Pending[i].ApplyTo(entries);
        return entries;
    }
}
