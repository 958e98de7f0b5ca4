namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Bytes on disk of all machines together, within one limit.</summary>
/// <param name="letGo">Asks the machines to let go of what is durable already. Called under no lock of theirs.</param>
internal sealed class SpoolSpace(long bytesMax, Action letGo)
{
    private readonly Lock _gate = new();
    private long _used;

    public Bell Freed { get; } = new();
    /// <summary>More than wanted is used, and a segment may be ready to be coalesced.</summary>
    public Bell Pressed { get; } = new();
    public long Used => Volatile.Read(ref _used);

    public void LetGo() => letGo();

    public bool TryTake(long bytes)
    {
        lock (_gate)
        {
            // A single frame always fits: a limit smaller than a frame must not stop the stream for ever.
            if (_used > 0 && _used + bytes > bytesMax) return false;
            _used += bytes;
            return true;
        }
    }

    /// <summary>What lies on the disk counts, wanted or not.</summary>
    public void Force(long bytes)
    {
        lock (_gate) _used += bytes;
    }

    /// <summary>What was taken for a write that the disk refused. Nobody is woken: who waits would try the same disk again at once, and again.</summary>
    public void Untake(long bytes)
    {
        lock (_gate) _used -= bytes;
    }

    public void Release(long bytes)
    {
        if (bytes == 0) return;
        lock (_gate) _used -= bytes;
        Freed.Ring();
    }
}
