namespace SiteRecovery.DataPlane.Transport;

/// <summary>
/// How much the streams of a receiver may have under way and unprocessed, all together. What is granted cannot be taken back, so each stream begins with what it cannot do without, and its window
/// grows by what it uses: one that takes nothing costs no more than that, whatever others do. What all windows together have grown by is bounded; once that becomes scarce, a window that is used
/// shrinks to its part.
/// </summary>
internal sealed class CreditBudget(ChannelOptions options)
{
    private readonly int _least = Math.Min(options.LeastWindowBytes, options.WindowBytes);
    private readonly Lock _gate = new();
    private long _grown; // under _gate, like all below
    private int _streams;

    /// <returns>Bytes to grant now.</returns>
    public int Open(CreditWindow window)
    {
        lock (_gate)
        {
            _streams++;
            // The first few need not grow first.
            var all = options.WindowBytes - _least;
            return Grant(window, options.GrowthBytesMax - _grown - all >= options.GrowthBytesMax / 4 * 3 ? options.WindowBytes : _least);
        }
    }

    /// <summary>A frame was processed.</summary>
    /// <returns>Bytes to grant for it; 0: none.</returns>
    public int Processed(CreditWindow window, int frameBytes)
    {
        lock (_gate)
        {
            Change(window, -frameBytes);
            var free = options.GrowthBytesMax - _grown;
            var limit = free > options.GrowthBytesMax / 4 ? options.WindowBytes : Math.Min(options.WindowBytes, _least + options.GrowthBytesMax / _streams);
            var wanted = Math.Min(limit, window.Bytes + 2L * frameBytes);
            return Grant(window, Math.Max(_least, Math.Min(wanted, Math.Max(window.Bytes, _least) + free)));
        }
    }

    public void Close(CreditWindow window)
    {
        lock (_gate)
        {
            Change(window, -window.Bytes);
            _streams--;
        }
    }

    private int Grant(CreditWindow window, long upTo)
    {
        var bytes = (int)Math.Max(0, upTo - window.Bytes);
        Change(window, bytes);
        return bytes;
    }

    private void Change(CreditWindow window, long bytes)
    {
        _grown -= Math.Max(0, window.Bytes - _least);
        window.Bytes += bytes;
        _grown += Math.Max(0, window.Bytes - _least);
    }
}

/// <summary>Granted to one stream and not processed yet: at the sender, under way, or waiting here. The budget's lock guards it.</summary>
internal sealed class CreditWindow
{
    public long Bytes { get; set; }
}
