namespace SiteRecovery.Simulation.World;

/// <summary>
/// What a guest knows of its disks, apart from everything that replicates them: how they began, and every write that got a place in the history, by its sequence. The disks
/// lie one behind the other.
/// </summary>
/// <param name="host">Where its epoch's source is.</param>
/// <param name="before">Of the same disks in an epoch before, as they were looked at last: what no flush has come back for since then may still go with the power. Null: they are other disks.</param>
internal sealed class SimLedger(string host, SimLedger? before = null)
{
    private const int WritesBetween = 200;
    private readonly List<Life> _lives = [];
    private byte[]? _expected;
    /// <summary>Sectors of which what is in them now may be gone with the power: no flush has come back since they were written.</summary>
    private readonly HashSet<int> _loose = before?.LooseOnceSeen() ?? [];

    internal string Host => host;
    internal long First => _lives[0].From;
    internal long Last => _lives[^1].Last;

    /// <summary>The disks are as they are, and the next write has a higher sequence.</summary>
    internal void Begin(long sequence, ReadOnlySpan<byte> content)
    {
        See();
        // Where writes fail, the same disks are looked at again and again.
        _lives.Add(new Life(sequence, _lives.Count > 0 && _lives[^1].Newest is var before && content.SequenceEqual(before) ? before : content.ToArray()));
    }

    private HashSet<int> LooseOnceSeen()
    {
        See();
        return [.. _loose];
    }

    /// <summary>The disks have been looked at: with the power on, what a failed write has left, and whatever no flush has come back for, is in the cache only; without it, what is seen is on the disk.</summary>
    private void See()
    {
        if (_lives.Count > 0 && _lives[^1].HasLostPower) _loose.Clear();
        else if (_lives.Count > 0)
            foreach (var (offset, length) in _lives[^1].Doubtful) Loosen(offset, length);
    }

    /// <summary>
    /// From where on disks that are looked at again lack what their guest was told is written, and, if they have been without power since, what it was told is flushed; -1: nowhere.
    /// What failed may be there or not.
    /// </summary>
    internal int FirstLost(ReadOnlySpan<byte> shown)
    {
        if (_lives.Count == 0) return -1;
        var life = _lives[^1];
        life.At(life.Last, _expected ??= new byte[shown.Length]);
        foreach (var (offset, length) in life.Doubtful) shown.Slice(offset, length).CopyTo(_expected.AsSpan(offset));
        for (var from = 0; shown[from..].CommonPrefixLength(_expected.AsSpan(from)) is var common && from + common < shown.Length;)
        {
            var sector = (from + common) / SimDisk.SectorBytes;
            if (!life.IsLost || !_loose.Contains(sector)) return from + common;
            from = (sector + 1) * SimDisk.SectorBytes;
        }
        return -1;
    }

    /// <summary>A flush of what lies between two places has come back.</summary>
    internal void Flushed(int from, int to) => _loose.RemoveWhere(s => s >= from / SimDisk.SectorBytes && s < to / SimDisk.SectorBytes);

    private void Loosen(int offset, int length)
    {
        for (var sector = offset / SimDisk.SectorBytes; sector * SimDisk.SectorBytes < offset + length; sector++) _loose.Add(sector);
    }

    /// <summary>The disks have lost their power: of what was not flushed nobody knows what is left, until they are looked at, which whoever dies too soon again is not.</summary>
    internal void LosePower()
    {
        Forget();
        if (_lives.Count > 0) _lives[^1].HasLostPower = true;
    }

    /// <summary>What a flush failed to write is shown no longer, whatever that is; what none has failed to write may still go with the power.</summary>
    internal void Forget()
    {
        if (_lives.Count > 0) _lives[^1].IsLost = true;
    }

    /// <param name="isFlushed">It came back with its data on the disk.</param>
    internal void Add(long sequence, DateTimeOffset at, int offset, byte[] data, bool isFlushed)
    {
        _lives[^1].Add(new Written(sequence, at, offset, data));
        if (isFlushed) Flushed(offset, offset + data.Length);
        else Loosen(offset, data.Length);
    }

    /// <summary>A write failed, or its host died under it: until the disks are looked at again they may hold anything there.</summary>
    internal void Fail(int offset, int length) => _lives[^1].Doubtful.Add((offset, length));

    /// <summary>From where on the disks are not as they were after exactly the writes up to a sequence; -1: they are.</summary>
    internal int FirstDifference(long sequence, ReadOnlySpan<byte> shown)
    {
        var first = -1;
        for (var i = _lives.FindLastIndex(l => l.From <= sequence); i >= 0; i--)
        {
            if (_lives[i].IsLost && sequence > _lives[i].Last) return first;
            _lives[i].At(sequence, _expected ??= new byte[shown.Length]);
            if (sequence >= _lives[i].Last)
                foreach (var (offset, length) in _lives[i].Doubtful) shown.Slice(offset, length).CopyTo(_expected.AsSpan(offset));
            var common = shown.CommonPrefixLength(_expected);
            if (common == shown.Length) return -1;
            first = Math.Max(first, common);
            // What a failed write left came without a sequence of its own: at that position it may be there or not.
            if (_lives[i].From < sequence) return first;
        }
        return first;
    }

    /// <summary>The first write that is not in the history up to a sequence; null: there is none yet.</summary>
    internal Written? FirstAfter(long sequence)
    {
        foreach (var life in _lives)
            if (life.After(sequence) is { } write) return write;
        return null;
    }

    /// <summary>When its disks were looked at, for people.</summary>
    public override string ToString() => string.Join(", ", _lives.Select(l => $"{l.From} to {l.Last}")) + (_lives.Count > 0 && _lives[^1].IsLost ? ", then without power" : "");

    internal sealed record Written(long Sequence, DateTimeOffset At, int Offset, byte[] Data);

    /// <summary>Between two moments at which the disks were looked at.</summary>
    private sealed class Life(long from, byte[] content)
    {
        private readonly List<Written> _writes = [];
        private readonly List<byte[]> _between = [content];
        /// <summary>A life without a write needs no copy.</summary>
        private byte[]? _newest;

        /// <summary>With every write. It stays as it is once the next life has begun.</summary>
        internal byte[] Newest => _newest ?? content;

        internal List<(int Offset, int Length)> Doubtful { get; } = [];
        /// <summary>It ended without power, or what a flush had failed to write was dropped.</summary>
        internal bool IsLost { get; set; }
        internal bool HasLostPower { get; set; }
        internal long From => from;
        internal long Last => _writes.Count > 0 ? _writes[^1].Sequence : from;
        internal void Add(Written write)
        {
            _writes.Add(write);
            write.Data.CopyTo(_newest ??= content.ToArray(), write.Offset);
            if (_writes.Count % WritesBetween == 0) _between.Add(_newest.ToArray());
        }

        internal Written? After(long sequence) => CountUpTo(sequence) is var count && count < _writes.Count ? _writes[count] : null;

        internal void At(long sequence, byte[] disk)
        {
            var count = CountUpTo(sequence);
            _between[count / WritesBetween].CopyTo(disk, 0);
            for (var i = count / WritesBetween * WritesBetween; i < count; i++) _writes[i].Data.CopyTo(disk, _writes[i].Offset);
        }

        private int CountUpTo(long sequence)
        {
            var (low, high) = (0, _writes.Count);
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (_writes[middle].Sequence <= sequence) low = middle + 1;
                else high = middle;
            }
            return low;
        }
    }
}
