using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>Sequenced writes with their data, waiting for the pump. Preallocated; the owner's lock guards every call but <see cref="CopyTo"/>.</summary>
internal sealed class CaptureRing(int bytes, int entries)
{
    private readonly byte[] _data = GC.AllocateUninitializedArray<byte>(bytes);
    private readonly Entry[] _entries = GC.AllocateUninitializedArray<Entry>(entries);
    private long _head, _tail, _dataHead, _dataTail;

    public readonly record struct Entry(Extent Extent, long Sequence, long LandedTicks, long DataAt);

    public int Count => (int)(_tail - _head);
    public long Bytes => _dataTail - _dataHead;

    /// <param name="landedTicks">UTC; not after the write is acknowledged.</param>
    public bool TryAppend(Extent extent, long sequence, long landedTicks, ReadOnlySpan<byte> data)
    {
        if (Count == _entries.Length || _dataTail - _dataHead + data.Length > _data.Length) return false;
        var at = (int)(_dataTail % _data.Length);
        var straight = Math.Min(data.Length, _data.Length - at);
        data[..straight].CopyTo(_data.AsSpan(at));
        data[straight..].CopyTo(_data);
        _entries[_tail % _entries.Length] = new Entry(extent, sequence, landedTicks, _dataTail);
        _dataTail += data.Length;
        _tail++;
        return true;
    }

    public Entry Peek(int index) => _entries[(_head + index) % _entries.Length];

    /// <summary>Without the lock: entries that were peeked stay put until they are released.</summary>
    public void CopyTo(Entry entry, Span<byte> into)
    {
        var at = (int)(entry.DataAt % _data.Length);
        var straight = Math.Min(into.Length, _data.Length - at);
        _data.AsSpan(at, straight).CopyTo(into);
        _data.AsSpan(0, into.Length - straight).CopyTo(into[straight..]);
    }

    public void Release(int count)
    {
        _head += count;
        if (_head < _tail) _dataHead = Peek(0).DataAt;
        // Empty: from the start again, so that a pump that keeps up uses little memory, and that from the processor's cache.
        else (_dataHead, _dataTail) = (0, 0);
    }

    public void Clear() => Release(Count);
}
