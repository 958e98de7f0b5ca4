using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Deltas and ticks in a row, and which of their extents no later one overwrites. No I/O. BATCH.md says what becomes of them.</summary>
internal sealed class CoalescingRun
{
    private const int BatchesMax = 4096, GainMin = 16;
    private readonly record struct Written(Extent Extent, int Frame, long Visible);

    private readonly List<(long Offset, BatchHeader Header)> _frames = [];
    private readonly List<Written> _extents = [];
    private readonly Dictionary<ushort, OverwriteMap> _maps = [];
    private int _left, _leftBytes;
    private long _bytes;

    public IReadOnlyList<(long Offset, BatchHeader Header)> Frames => _frames;
    public int Deltas { get; private set; }
    /// <summary>Index of the delta that is to carry the rest.</summary>
    public int Carrier { get; private set; } = -1;

    /// <summary>Fewer viewable positions are a price: not for a few bytes.</summary>
    public bool IsWorthIt => _bytes - _leftBytes > _bytes / GainMin;

    public static bool Takes(BatchHeader header) => header.IsTick || (header.Kind == BatchKind.Delta && !header.Coalesced);

    public bool HasRoomFor(BatchHeader header) =>
        _frames.Count < BatchesMax && _left + header.ExtentCount <= BatchCodec.ExtentsMax && _leftBytes + header.RawBytes <= BatchCodec.PayloadBytesMax;

    /// <param name="prefix">Its header and extents.</param>
    public void Add(long offset, Batch prefix)
    {
        var frame = _frames.Count;
        _frames.Add((offset, prefix.Header));
        if (prefix.Header.Kind != BatchKind.Delta) return;
        (Carrier, Deltas, _bytes) = (frame, Deltas + 1, _bytes + prefix.Header.RawBytes);
        for (var i = 0; i < prefix.Header.ExtentCount; i++) Write(prefix.ExtentAt(i), frame);
    }

    /// <summary>Extents of a frame with their place in its payload; those that are wholly overwritten are false.</summary>
    public IEnumerable<(Extent Extent, bool Visible)> ExtentsOf(int frame)
    {
        for (var i = FirstOf(frame); i < _extents.Count && _extents[i].Frame == frame; i++) yield return (_extents[i].Extent, _extents[i].Visible > 0);
    }

    private int FirstOf(int frame)
    {
        var (low, high) = (0, _extents.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_extents[middle].Frame < frame) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    private void Write(Extent extent, int frame)
    {
        var owner = _extents.Count;
        _extents.Add(new Written(extent, frame, extent.Length));
        Count(extent, 1);
        if (!_maps.TryGetValue(extent.Disk, out var map)) _maps[extent.Disk] = map = new OverwriteMap();
        map.Write(extent.Offset, extent.Offset + extent.Length, owner, Hide);
    }

    private void Hide(int owner, long bytes)
    {
        var written = _extents[owner] = _extents[owner] with { Visible = _extents[owner].Visible - bytes };
        if (written.Visible == 0) Count(written.Extent, -1);
    }

    private void Count(Extent extent, int sign)
    {
        _left += sign;
        if (extent.Kind == ExtentKind.Data) _leftBytes += sign * extent.Length;
    }
}
