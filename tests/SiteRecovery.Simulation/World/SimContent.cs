namespace SiteRecovery.Simulation.World;

/// <summary>Bytes of a file, in pages that are never changed in place: a copy shares them.</summary>
internal sealed class SimContent
{
    internal const int PageBytes = 4096;
    private static readonly byte[] ZeroPage = new byte[PageBytes];
    private readonly Dictionary<long, byte[]> _pages;

    internal SimContent() => _pages = [];

    private SimContent(SimContent other) => (_pages, Length) = (new Dictionary<long, byte[]>(other._pages), other.Length);

    internal long Length { get; private set; }
    internal long Pages => _pages.Count;

    internal SimContent Copy() => new(this);

    internal bool Has(long page) => _pages.ContainsKey(page);

    internal void Read(long offset, Span<byte> into)
    {
        var inside = (int)Math.Clamp(Length - offset, 0, into.Length);
        into[inside..].Clear();
        for (into = into[..inside]; into.Length > 0;)
        {
            var part = into[..(int)Math.Min(into.Length, PageBytes - offset % PageBytes)];
            if (_pages.TryGetValue(offset / PageBytes, out var page)) page.AsSpan((int)(offset % PageBytes), part.Length).CopyTo(part);
            else part.Clear();
            offset += part.Length;
            into = into[part.Length..];
        }
    }

    internal void Write(long offset, ReadOnlySpan<byte> from)
    {
        Length = Math.Max(Length, offset + from.Length);
        while (from.Length > 0)
        {
            var part = from[..(int)Math.Min(from.Length, PageBytes - offset % PageBytes)];
            var page = _pages.GetValueOrDefault(offset / PageBytes, ZeroPage).AsSpan().ToArray();
            part.CopyTo(page.AsSpan((int)(offset % PageBytes)));
            _pages[offset / PageBytes] = page;
            offset += part.Length;
            from = from[part.Length..];
        }
    }

    /// <summary>Whole pages become holes; the length stays.</summary>
    internal void Zero(long offset, long length)
    {
        for (var end = Math.Min(offset + length, Length); offset < end;)
        {
            var (number, within) = (offset / PageBytes, (int)(offset % PageBytes));
            var part = (int)Math.Min(end - offset, PageBytes - within);
            if (part == PageBytes || (within == 0 && offset + part == Length)) _pages.Remove(number);
            else if (_pages.TryGetValue(number, out var page))
            {
                page = page.AsSpan().ToArray();
                page.AsSpan(within, part).Clear();
                _pages[number] = page;
            }
            offset += part;
        }
    }

    internal void SetLength(long length)
    {
        if (length < Length)
        {
            // What lies beyond the end reads as zeroes when the file grows again.
            Zero(length, Length - length);
            foreach (var page in _pages.Keys.Where(p => p * PageBytes >= length).ToArray()) _pages.Remove(page);
        }
        Length = length;
    }

    internal void Flip(long offset, byte mask)
    {
        var page = _pages.GetValueOrDefault(offset / PageBytes, ZeroPage).AsSpan().ToArray();
        page[offset % PageBytes] ^= mask;
        _pages[offset / PageBytes] = page;
    }

    internal (long Length, bool Hole) RunAt(long offset)
    {
        if (offset >= Length) return (Length - offset, true);
        var number = offset / PageBytes;
        var hole = !_pages.ContainsKey(number);
        while (++number * PageBytes < Length && _pages.ContainsKey(number) == !hole)
        {
        }
        return (Math.Min(number * PageBytes, Length) - offset, hole);
    }
}
