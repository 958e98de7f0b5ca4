namespace SiteRecovery.Simulation.World;

/// <summary>What a guest knows of its disk, apart from everything that replicates it: how it began, and every write that was acknowledged, by its sequence.</summary>
internal sealed class SimLedger
{
    private readonly List<(long From, byte[] Content, List<(long Sequence, int Offset, byte[] Data)> Writes)> _lives = [];

    /// <summary>The disk is as it is, and the next write has a higher sequence.</summary>
    internal void Begin(long sequence, byte[] content) => _lives.Add((sequence, content, []));

    internal void Add(long sequence, int offset, byte[] data) => _lives[^1].Writes.Add((sequence, offset, data));

    /// <summary>The disk after exactly the writes up to a sequence.</summary>
    internal byte[] At(long sequence)
    {
        var (_, content, writes) = _lives.FindLast(l => l.From <= sequence);
        var disk = content.ToArray();
        foreach (var (at, offset, data) in writes)
            if (at <= sequence) data.CopyTo(disk, offset);
        return disk;
    }
}
