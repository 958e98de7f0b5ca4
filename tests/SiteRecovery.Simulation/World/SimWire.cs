namespace SiteRecovery.Simulation.World;

/// <summary>A network between two places, which links and messages share. One end is the near one: the primary site, or the agent.</summary>
internal sealed class SimWire(Random random)
{
    private readonly List<SimLink> _links = [];
    private readonly List<int> _late = [];
    private int _cuts, _mutes, _deaf, _mixes, _losses;

    /// <summary>Connections that are no streams; told that they are gone.</summary>
    internal Action<string>? Dropped { get; set; }
    internal bool IsCut => _cuts > 0;
    /// <summary>Nothing comes back to the near end, though all goes from there.</summary>
    internal bool IsMute => _mutes > 0;

    /// <summary>Nothing goes from the near end, though all comes there; of streams nothing goes to whoever receives.</summary>
    internal bool IsDeaf => _deaf > 0;
    internal bool IsLate => _late.Count > 0;

    /// <summary>Some messages do not come. Streams lose nothing but with their connection.</summary>
    internal bool Loses => _losses > 0;

    /// <summary>Messages overtake each other, and some come twice. Streams have an order of their own.</summary>
    internal bool Mixes => _mixes > 0;

    internal void Add(SimLink link) => _links.Add(link);

    internal void Cut(bool begins)
    {
        _cuts = Math.Max(0, _cuts + (begins ? 1 : -1));
        if (begins) Drop("the network is gone");
    }

    internal void Mute(bool begins) => _mutes = Math.Max(0, _mutes + (begins ? 1 : -1));

    internal void Deafen(bool begins) => _deaf = Math.Max(0, _deaf + (begins ? 1 : -1));

    internal void Lose(bool begins) => _losses = Math.Max(0, _losses + (begins ? 1 : -1));

    /// <summary>Frames and messages take up to so long.</summary>
    internal void Delay(int milliseconds, bool begins)
    {
        if (begins) _late.Add(milliseconds);
        else _late.Remove(milliseconds);
    }

    internal void Mix(bool begins) => _mixes = Math.Max(0, _mixes + (begins ? 1 : -1));

    internal void Mend()
    {
        (_cuts, _mutes, _deaf, _mixes, _losses) = (0, 0, 0, 0, 0);
        _late.Clear();
    }

    /// <summary>Every connection is lost; the next try succeeds.</summary>
    internal void Drop(string reason)
    {
        foreach (var link in _links) link.Drop(reason);
        Dropped?.Invoke(reason);
    }

    /// <summary>How late a message is; null: it does not come.</summary>
    internal TimeSpan? LagOf(bool crosses, bool toSecondary) => !crosses ? TimeSpan.FromMicroseconds(50)
        : IsCut || (IsMute && !toSecondary) || (IsDeaf && toSecondary) || (Loses && random.Next(8) == 0) ? null : LagOf(random);

    /// <summary>How long something is under way, by the dice of whoever sends it.</summary>
    internal TimeSpan LagOf(Random dice) => TimeSpan.FromMicroseconds(dice.Next(50, _late.Count == 0 ? 15_000 : 1000 * _late.Max()));
}
