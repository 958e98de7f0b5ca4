namespace SiteRecovery.Simulation.World;

/// <summary>What a host's disk has ahead of it, or suffers from now. It outlives the host's crashes.</summary>
internal sealed class SimDiskFaults(SimHost host)
{
    private readonly List<Ahead> _ahead = [];
    private readonly List<long> _capacities = [];
    private int _slow, _unreadable, _reads;

    private sealed class Ahead(SimMoment moment, bool afterwards, Fault fault, bool? power)
    {
        internal SimMoment Moment => moment;
        internal bool Afterwards => afterwards;
        internal Fault Fault => fault;
        internal bool? Power => power;
        /// <summary>How many such I/Os there are up to the one that is meant.</summary>
        internal int Left { get; set; }
    }

    /// <summary>It takes and gives what it is asked for, as fast as ever.</summary>
    internal bool AreNone => _capacities.Count == 0 && _slow == 0 && _unreadable == 0;
    /// <summary>It has refused something at some time, or had no room for it.</summary>
    internal bool WereFelt => Felt > 0;
    /// <summary>How often it has.</summary>
    internal int Felt { get; private set; }

    internal void Attach()
    {
        var disk = host.Disk;
        (disk.Faults, disk.After, disk.Cost) = (Before, Done, null);
        (disk.Lost, disk.Forgot) = ((path, sector) => host.LostSector?.Invoke(path, sector), path => host.ForgotCached?.Invoke(path));
        disk.FlushFailed = path => host.FlushFailed?.Invoke(path);
        Apply();
    }

    /// <summary>The host dies in the n-th such I/O from now, or right after it.</summary>
    /// <returns>Whether it still is to come.</returns>
    internal Func<bool> Crash(bool power, SimMoment moment, int nth, bool afterwards)
    {
        var ahead = new Ahead(moment, afterwards, Fault.None, power) { Left = nth };
        _ahead.Add(ahead);
        return () => _ahead.Contains(ahead);
    }

    internal void Fail(SimMoment moment, int nth, Fault how) => _ahead.Add(new Ahead(moment, false, how, null) { Left = nth });

    internal void Slow(bool begins) => Change(ref _slow, begins);

    internal void Unreadable(bool begins) => Change(ref _unreadable, begins);

    /// <summary>From now on only so much more finds room.</summary>
    /// <returns>What to give to <see cref="HasRoom"/>.</returns>
    internal long Full(long bytes)
    {
        Felt++;
        var capacity = host.Disk.UsedBytes + bytes;
        _capacities.Add(capacity);
        Apply();
        return capacity;
    }

    internal void HasRoom(long capacity)
    {
        _capacities.Remove(capacity);
        Apply();
    }

    /// <summary>Nothing is wrong any more, nor will be.</summary>
    internal void Heal()
    {
        _ahead.Clear();
        _capacities.Clear();
        (_slow, _unreadable) = (0, 0);
        Apply();
    }

    private void Change(ref int count, bool begins)
    {
        // One that began before everything was healed ends later.
        count = Math.Max(0, count + (begins ? 1 : -1));
        Apply();
    }

    private void Apply()
    {
        host.Disk.CapacityBytes = _capacities.Count > 0 ? _capacities.Min() : long.MaxValue;
        host.Disk.Cost = _slow > 0 ? io => host.Time.Spend(TimeSpan.FromMicroseconds(io.Kind == IoKind.Flush ? 3000 : 100)) : null;
    }

    private Fault Before(SimIo io)
    {
        if (io.Kind == IoKind.Read && _unreadable > 0 && ++_reads % 3 == 0)
        {
            Felt++;
            return Fault.Error;
        }
        return Meet(io, afterwards: false);
    }

    private void Done(SimIo io)
    {
        host.Traced?.Invoke(io);
        Meet(io, afterwards: true);
    }

    private Fault Meet(SimIo io, bool afterwards)
    {
        for (var i = 0; i < _ahead.Count; i++)
        {
            var ahead = _ahead[i];
            if (ahead.Afterwards != afterwards || !ahead.Moment.Holds(io.Kind) || --ahead.Left > 0) continue;
            _ahead.RemoveAt(i);
            if (ahead.Power is not { } power)
            {
                Felt++;
                return ahead.Fault;
            }
            if (!host.IsUp) return Fault.None;
            host.Crash(power);
            throw new IOException("the host is off");
        }
        return Fault.None;
    }
}

/// <summary>Which I/Os are meant.</summary>
internal enum SimMoment { Change, Write, Flush, Read, Names }

internal static class SimMoments
{
    internal static bool Holds(this SimMoment moment, IoKind kind) => moment switch
    {
        SimMoment.Write => kind is IoKind.Write or IoKind.Zero,
        SimMoment.Flush => kind is IoKind.Flush or IoKind.FlushFolder,
        SimMoment.Read => kind == IoKind.Read,
        SimMoment.Names => kind is IoKind.Create or IoKind.Rename or IoKind.Delete or IoKind.DeleteFolder or IoKind.FlushFolder,
        _ => kind != IoKind.Read,
    };
}
