using System.Collections.Immutable;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>What an old source tells of its tail, part by part. It may be anybody's by now: however much it tells, it takes no more memory here than this.</summary>
internal sealed class ToldRanges
{
    /// <summary>25 MB, and as much again for a moment. A tail of more is taken for everything: that costs a comparison, and misses nothing.</summary>
    public const int Max = 1_000_000;

    private readonly List<DiskRange> _ranges = [];
    private bool _isEverything, _isOutside;

    /// <param name="numbers">Disk index, offset and length of each, one after the other. Bytes.</param>
    public void Add(ImmutableArray<long> numbers)
    {
        for (var i = 0; i + 2 < numbers.Length && !_isEverything && !_isOutside; i += 3)
        {
            if (numbers[i] is < 0 or > ushort.MaxValue) _isOutside = true;
            else _ranges.Add(new DiskRange((ushort)numbers[i], numbers[i + 1], numbers[i + 2]));
            if (_ranges.Count <= Max) continue;
            _isEverything = true;
            _ranges.Clear();
            _ranges.TrimExcess();
        }
    }

    /// <returns>Null: everything.</returns>
    /// <exception cref="IOException">It told of what these disks do not have.</exception>
    public IReadOnlyList<DiskRange>? On(IReadOnlyList<DiskRecord> disks)
    {
        var sizes = disks.ToDictionary(d => d.Index, d => d.SizeBytes);
        if (_isOutside || _ranges.Any(r => !(sizes.TryGetValue(r.Disk, out var size) && r is { Offset: >= 0, Length: > 0 } && r.Length <= size - r.Offset)))
            throw new IOException("the old source tells of ranges that its disks do not have: reverse the replication with full");
        return _isEverything ? null : _ranges;
    }
}
