using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>
/// Bytes on disk of all machines together, within one limit. A part of it is kept for the machines in equal shares: those whose next room takes nothing for long can fill the rest of it,
/// never the share of another one.
/// </summary>
/// <param name="letGo">Asks the machines to let go of what is durable already. Called under no lock of theirs.</param>
internal sealed class SpoolSpace(long bytesMax, Action letGo)
{
    private const int KeptPart = 4;
    private readonly Lock _gate = new();
    private readonly List<SpoolShare> _shares = []; // under _gate, like all below
    private long _used;
    private long _kept; // for each machine
    private long _beyond; // what machines use beyond that, all together

    /// <summary>More than wanted is used, and a segment may be ready to be coalesced.</summary>
    public Bell Pressed { get; } = new();
    public long Used => Volatile.Read(ref _used);

    public void LetGo() => letGo();

    public SpoolShare Join()
    {
        var share = new SpoolShare();
        lock (_gate)
        {
            _shares.Add(share);
            Divide();
        }
        return share;
    }

    /// <summary>Nothing of the machine is kept any more, and nothing for it.</summary>
    public void Leave(SpoolShare share)
    {
        lock (_gate)
        {
            if (!_shares.Remove(share)) return;
            share.HasLeft = true;
            Divide();
            Wake();
        }
    }

    /// <summary>False: there is no room for it. The share's bell rings when there is, until <see cref="GiveUp"/>.</summary>
    public bool TryTake(SpoolShare share, long bytes)
    {
        lock (_gate)
        {
            share.Wanted = HasRoom(share, bytes) ? 0 : bytes;
            if (share.Wanted > 0) return false;
            Change(share, bytes);
            return true;
        }
    }

    public void GiveUp(SpoolShare share)
    {
        lock (_gate) share.Wanted = 0;
    }

    /// <summary>What lies on the disk counts, wanted or not.</summary>
    public void Force(SpoolShare share, long bytes)
    {
        lock (_gate) Change(share, bytes);
    }

    /// <summary>What was taken for a write that the disk refused. Nobody is woken: who waits would try the same disk again at once, and again.</summary>
    public void Untake(SpoolShare share, long bytes)
    {
        lock (_gate) Change(share, -bytes);
    }

    public void Release(SpoolShare share, long bytes)
    {
        if (bytes == 0) return;
        lock (_gate)
        {
            Change(share, -bytes);
            Wake();
        }
    }

    private bool HasRoom(SpoolShare share, long bytes)
    {
        // A single frame always fits: a limit smaller than a frame must not stop the stream for ever.
        if (_used == 0) return true;
        if (_used + bytes > bytesMax) return false;
        var beyond = share.Bytes + bytes - _kept;
        return beyond <= 0 || _beyond - Beyond(share) + beyond <= bytesMax - _kept * _shares.Count;
    }

    private void Change(SpoolShare share, long bytes)
    {
        _beyond -= Beyond(share);
        share.Bytes += bytes;
        _used += bytes;
        _beyond += Beyond(share);
    }

    private long Beyond(SpoolShare share) => share.HasLeft ? 0 : Math.Max(0, share.Bytes - _kept);

    /// <summary>Two of the largest frames for each, so that one is taken while the other is on its way; where that would be more than half, only half is kept.</summary>
    private void Divide()
    {
        var machines = Math.Max(1, _shares.Count);
        _kept = Math.Max(bytesMax / KeptPart / machines, Math.Min(2 * BatchCodec.FrameBytesMax, bytesMax / 2 / machines));
        _beyond = _shares.Sum(Beyond);
    }

    /// <summary>Only those that have room now: of hundreds that wait, all others would ask in vain each time.</summary>
    private void Wake()
    {
        foreach (var share in _shares)
            if (share.Wanted > 0 && HasRoom(share, share.Wanted)) share.Freed.Ring();
    }
}

/// <summary>One machine's part of the space; the space's lock guards what changes.</summary>
internal sealed class SpoolShare
{
    private long _wanted;

    public Bell Freed { get; } = new();
    public long Bytes { get; set; }
    /// <summary>What it waits for; 0: nothing.</summary>
    public long Wanted
    {
        get => Volatile.Read(ref _wanted);
        set => Volatile.Write(ref _wanted, value);
    }

    public bool HasLeft { get; set; }
}
