namespace SiteRecovery.Simulation.World;

/// <summary>A change of a folder that was not flushed: a name is given to a node, taken from it (no node), or another name takes its place.</summary>
internal readonly record struct EntryChange(string Name, SimNode? Node, string? From)
{
    internal void ApplyTo(SortedDictionary<string, SimNode> entries)
    {
        if (From is not null && entries.TryGetValue(From, out var former) && former == Node) entries.Remove(From);
        if (Node is null) entries.Remove(Name);
        else entries[Name] = Node;
    }
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
        foreach (var change in Pending) change.ApplyTo(Durable);
        Pending.Clear();
    }

    /// <summary>The names that a loss of power leaves.</summary>
    internal SortedDictionary<string, SimNode> Survivors(Fate fate, Random random)
    {
        var entries = new SortedDictionary<string, SimNode>(Durable, StringComparer.Ordinal);
        var whole = fate switch { Fate.Kept => Pending.Count, Fate.Prefix => random.Next(Pending.Count + 1), _ => 0 };
        for (var i = 0; i < Pending.Count; i++)
            if (i < whole || (fate == Fate.Scattered && random.Next(2) == 0)) Pending[i].ApplyTo(entries);
        return entries;
    }
}
