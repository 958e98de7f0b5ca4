using System.Runtime.CompilerServices;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// The machine's guest, wherever its disks take writes: at the agent, at a replica, or at both after a failover that the old source has not heard of. What was written is in a
/// ledger per epoch.
/// </summary>
internal sealed class SimGuest(SimMachine machine, SimRandom random)
{
    private const int HotBytes = 24 << 10, StormWrites = 50;
    /// <summary>Longer than an agent waits for somebody who knows whether a machine is still at home.</summary>
    private static readonly TimeSpan AskingMax = TimeSpan.FromSeconds(90);
    private readonly SimSites _sites = machine.Sites;
    private readonly Random _flushes = new(machine.Number);
    private int _storms, _hot, _most = 5;
    private TimeSpan _paceUntil;
    private readonly Dictionary<Epoch, SimLedger> _ledgers = [];
    private readonly Dictionary<Epoch, string> _writers = [];
    private readonly ConditionalWeakTable<MachineCapture, Place> _places = [];
    /// <summary>Of these, what was asked for last: the table is slow, and is asked some hundred times a second.</summary>
    private readonly (MachineCapture? Capture, Place? Place)[] _recent = new (MachineCapture?, Place?)[3];
    private int _recentNext;
    private readonly byte[] _shown = new byte[SimSource.DiskCount * SimSource.DiskBytes];
    /// <summary>What its disks at the agent may forget, as places of all disks: a flush has failed to write it.</summary>
    private readonly SortedSet<int> _mayForget = [];

    /// <summary>Disks as a guest has them open.</summary>
    /// <param name="Epoch">In which it writes.</param>
    private sealed record Place(string Host, Epoch Epoch)
    {
        /// <summary>What its disks hold is in the ledger.</summary>
        internal bool IsKnown { get; set; }
        /// <summary>Its writes wait for somebody who says that they may go on.</summary>
        internal TimeSpan? WaitsSince { get; set; }
    }

    internal long Writes { get; private set; }
    /// <summary>The newest sequence of an epoch that its source has been told is durable at a host.</summary>
    internal Dictionary<(Epoch Epoch, string At), long> DurableHeard { get; } = [];

    /// <summary>That it has written in.</summary>
    internal Epoch NewestEpoch => _ledgers.Keys.DefaultIfEmpty(Epoch.First).Max();

    /// <summary>Of the newest epoch in which it wrote there.</summary>
    internal SimLedger? LastLedgerAt(string host, long firstEpoch, long beforeEpoch) => _ledgers.Where(l => l.Value.Host == host && firstEpoch <= l.Key.Value && l.Key.Value < beforeEpoch).OrderByDescending(l => l.Key.Value).Select(l => l.Value).FirstOrDefault();

    internal SimLedger? LedgerOf(Epoch epoch) => _ledgers.GetValueOrDefault(epoch);

    /// <summary>
    /// By what a position may be told. A replica goes on in a later epoch when a failover away from it is cancelled, and what it wrote until its end is kept in the store as the
    /// end of the epoch that its layer began in: such a position lies behind that epoch's own last write, or at it where the later one's writes all failed, and, after a crash, as a bound behind every write of the later one too.
    /// </summary>
    internal IEnumerable<SimLedger> LedgersOf(RecoveryPoint point)
    {
        if (LedgerOf(point.Epoch) is not { } own) return [];
        var later = point.Sequence.Value < own.Last ? [] : _ledgers.Where(l => l.Key > point.Epoch && l.Value.Host == own.Host
            && l.Value.First <= point.Sequence.Value && (point.Sequence.Value > own.Last || l.Value.Last == own.Last)).Select(l => l.Value);
        return [own, .. later];
    }

    /// <summary>Everything that runs now, with what it is captured by.</summary>
    internal IEnumerable<(string Host, Epoch Epoch, MachineCapture Capture)> Running()
    {
        if (_sites.Source.Agent?.CaptureOf(machine.Id) is { } agent) yield return ("agent", agent.Epoch, agent.Capture);
        if (machine.ReplicaAt(_sites.Source.Room) is { } home) yield return ("source", home.Epoch, home.Capture);
        if (machine.ReplicaAt(_sites.Target.Room) is { } away) yield return ("target", away.Epoch, away.Capture);
    }

    /// <summary>Looks at the disks of whatever has come up, before anything is written there.</summary>
    internal void Meet()
    {
        foreach (var (host, epoch, capture) in Running())
            if ((PlaceOf(capture) ?? NewPlace(host, epoch, capture)) is { IsKnown: false } place) Learn(capture, place);
    }

    /// <summary>Null: it was not met yet.</summary>
    private Place? PlaceOf(MachineCapture capture)
    {
        foreach (var (recent, known) in _recent)
            if (recent == capture) return known;
        return _places.TryGetValue(capture, out var place) ? Remember(capture, place) : null;
    }

    private Place NewPlace(string host, Epoch epoch, MachineCapture capture)
    {
        var place = new Place(host, epoch);
        _places.Add(capture, place);
        return Remember(capture, place);
    }

    private Place Remember(MachineCapture capture, Place place)
    {
        _recent[_recentNext++ % _recent.Length] = (capture, place);
        return place;
    }

    /// <summary>It writes more than anything can carry away.</summary>
    internal void Storm(bool begins) => _storms = Math.Max(0, _storms + (begins ? 1 : -1));

    internal void Act()
    {
        Meet();
        TakeThought();
        foreach (var (_, _, capture) in Running().ToArray())
        {
            if (PlaceOf(capture) is not { } place) continue;
            if (capture.IsAsking && _sites.Clock.Elapsed - (place.WaitsSince ??= _sites.Clock.Elapsed) > AskingMax) throw new SimViolation("never stall", $"after a boot the guest at {place.Host} has waited for {AskingMax.TotalSeconds} s");
            if (capture.IsAsking || !place.IsKnown) continue;
            // It does not know that nothing is taken now.
            if (capture.IsFenced || capture.IsFrozen) Write(capture, place, 0, 0, new byte[512], trims: false, unitAccess: false);
            if (capture.IsFenced) continue;
            if (_sites.Script.Flushes && _flushes.Next(8) == 0) Flush(capture, place);
            for (var i = WritesNow(); i > 0 && place.IsKnown && !capture.IsFrozen; i--) WriteAny(capture, place);
            var heard = (place.Epoch, place.Host == "target" ? "source" : "target");
            DurableHeard[heard] = Math.Max(DurableHeard.GetValueOrDefault(heard), capture.Epoch == place.Epoch ? capture.Status().Durable.Value : 0);
        }
    }

    /// <summary>For a while it is busy, or writes now and then, or nothing; so that there are blocks that nobody has written for long.</summary>
    private void TakeThought()
    {
        if (_sites.Clock.Elapsed < _paceUntil) return;
        _paceUntil = _sites.Clock.Elapsed + TimeSpan.FromMilliseconds(random.Next(300, 6000));
        _most = random.Next(4) switch { 0 => 0, 1 => 1, _ => 5 };
        _hot = random.Next((SimSource.DiskBytes - HotBytes) / 512) * 512;
    }

    private int WritesNow() => _storms > 0 ? StormWrites : _most == 1 && random.Next(6) > 0 ? 0 : random.Next(_most + 1);

    /// <summary>A host has lost its power, and its guest what was not flushed.</summary>
    internal void LosePower(string host)
    {
        foreach (var ledger in _ledgers.Values)
            if ((ledger.Host == "agent" ? "source" : ledger.Host) == host) ledger.LosePower();
        if (host == "source") _mayForget.Clear();
    }

    /// <summary>Of a replica at a host what a flush failed to write is shown no longer: its guest was told.</summary>
    internal void Forget(string host)
    {
        foreach (var ledger in _ledgers.Values.Where(l => l.Host == host)) ledger.Forget();
        foreach (var (_, place) in _places.Where(p => p.Value.Host == host)) place.IsKnown = false;
    }

    /// <summary>A flush of a layer's data has failed: what none has come back for is gone, or not, when it is opened anew.</summary>
    internal void LoseLayer(string host, string path)
    {
        if (path.Contains($"/{machine.Id}/replica/epoch-", StringComparison.Ordinal) && path.EndsWith(".data", StringComparison.Ordinal)) LastLedgerAt(host, 0, long.MaxValue)?.Forget();
    }

    /// <summary>A flush of a file at the agent's host has failed, and its guest was told: until the power is lost it may be there or not.</summary>
    internal void LoseSector(string path, long sector)
    {
        for (var disk = 0; disk < SimSource.DiskCount; disk++)
        {
            if (path != SimSource.PathOf(machine.Id, disk)) continue;
            var offset = disk * SimSource.DiskBytes + (int)sector * SimDisk.SectorBytes;
            if (!_mayForget.Add(offset)) return;
            foreach (var ledger in _ledgers.Values.Where(l => l.Host == "agent")) ledger.Fail(offset, SimDisk.SectorBytes);
        }
    }

    /// <summary>A file at the agent's host shows what is on the disk again.</summary>
    internal void LookAgain(string path)
    {
        if (!Enumerable.Range(0, SimSource.DiskCount).Any(d => path == SimSource.PathOf(machine.Id, d))) return;
        foreach (var (_, place) in _places.Where(p => p.Value.Host == "agent")) place.IsKnown = false;
    }

    /// <summary>All disks, as they are read; null while one cannot be.</summary>
    internal static byte[]? Content(MachineCapture capture)
    {
        var content = new byte[SimSource.DiskCount * SimSource.DiskBytes];
        return TryReadAll(capture, content, out _) ? content : null;
    }

    private static bool TryReadAll(MachineCapture capture, byte[] into, out Exception? failed)
    {
        failed = null;
        for (var disk = 0; disk < SimSource.DiskCount; disk++)
            if (!TryRead(capture, disk, 0, into.AsMemory(disk * SimSource.DiskBytes, SimSource.DiskBytes), out failed)) return false;
        return true;
    }

    private static bool TryRead(MachineCapture capture, int disk, int offset, Memory<byte> into, out Exception? failed)
    {
        failed = null;
        try
        {
            var read = capture.Disks[disk].ReadAsync(offset, into, CancellationToken.None);
            if (!read.IsCompleted) throw new SimViolation("never stall", "a read of the guest waits");
            read.GetAwaiter().GetResult();
            return true;
        }
        catch (Exception unreadable) when (unreadable is IOException or ObjectDisposedException)
        {
            failed = unreadable;
            return false;
        }
    }

    private void Learn(MachineCapture capture, Place place)
    {
        var content = _shown;
        if (!TryReadAll(capture, content, out var failed))
        {
            ExcuseByDisk(capture, place, failed!, "read");
            return;
        }
        if (!_ledgers.TryGetValue(place.Epoch, out var ledger))
        {
            // The same disks, whoever had the machine meanwhile.
            var before = place.Host == "agent" ? LastLedgerAt("agent", 0, place.Epoch.Value) : null;
            if (place.Host != "agent") CheckFork(place.Epoch, content);
            else if (before?.FirstLost(content) is >= 0 and var gone)
                throw new SimViolation("durable ack", $"the guest at home again in epoch {place.Epoch} finds its disks without what it was told there is there, at {gone}");
            ledger = _ledgers[place.Epoch] = new SimLedger(place.Host, before);
        }
        if (ledger.FirstLost(content) is >= 0 and var lost)
            throw new SimViolation("durable ack", $"the guest at {place.Host} finds its disks in epoch {place.Epoch} without what it was told is there, at {lost}");
        ledger.Begin(capture.Status().Newest.Value, content);
        if (place.Host == "agent")
            foreach (var offset in _mayForget) ledger.Fail(offset, SimDisk.SectorBytes);
        place.IsKnown = true;
    }

    /// <summary>A replica begins as the point that it was made of.</summary>
    private void CheckFork(Epoch epoch, byte[] content)
    {
        if (machine.PointOf(epoch) is not { } point) return;
        var from = LedgersOf(point).Select(l => l.FirstDifference(point.Sequence.Value, content)).DefaultIfEmpty(-1).Min();
        if (from >= 0) throw new SimViolation("prefix", $"the replica of epoch {epoch} shows other bytes than {point.Id}, from {from} on");
    }

    private void WriteAny(MachineCapture capture, Place place)
    {
        var (disk, trims, unitAccess) = (random.Next(SimSource.DiskCount), random.Next(12) == 0, random.Next(20) == 0);
        var data = new byte[(random.Next(24) + 1) * 512];
        if (!trims && random.Next(8) > 0) random.NextBytes(data);
        // Some places are written again and again, and most of a disk is not while little is written.
        var offset = _most == 1 || random.Next(3) == 0 ? _hot + random.Next((HotBytes - data.Length) / 512) * 512 : random.Next((SimSource.DiskBytes - data.Length) / 512) * 512;
        Write(capture, place, disk, offset, data, trims, unitAccess);
    }

    /// <summary>One write. It must not wait for anything but the disk.</summary>
    private void Write(MachineCapture capture, Place place, int disk, int offset, byte[] data, bool trims, bool unitAccess)
    {
        var before = capture.Status().Newest.Value;
        var write = trims ? capture.Disks[disk].WriteZeroesAsync(offset, data.Length, mayTrim: true, unitAccess, CancellationToken.None)
            : capture.Disks[disk].WriteAsync(offset, data, unitAccess, CancellationToken.None);
        if (!write.IsCompleted) throw new SimViolation("never stall", $"a write of the guest at {place.Host} waits");
        Written(capture, place, write.AsTask().Exception?.InnerException, before, disk * SimSource.DiskBytes + offset, data, unitAccess);
    }

    private void Flush(MachineCapture capture, Place place)
    {
        var disk = _flushes.Next(SimSource.DiskCount);
        try
        {
            var flush = capture.Disks[disk].FlushAsync(CancellationToken.None);
            if (!flush.IsCompleted) throw new SimViolation("never stall", $"a flush of the guest at {place.Host} waits");
            flush.GetAwaiter().GetResult();
        }
        catch (Exception failed) when (failed is IOException or ObjectDisposedException)
        {
            if (Running().Any(r => r.Capture == capture)) ExcuseByDisk(capture, place, failed, "flush");
            return;
        }
        // With its host down nobody was told anything.
        if (Running().Any(r => r.Capture == capture)) _ledgers[place.Epoch].Flushed(disk * SimSource.DiskBytes, (disk + 1) * SimSource.DiskBytes);
    }

    private void Written(MachineCapture capture, Place place, Exception? failed, long before, int offset, byte[] data, bool unitAccess)
    {
        // With its host down nobody was told anything: what is on the disk is looked at when it is up again, and may be kept without a look.
        if (!Running().Any(r => r.Capture == capture))
        {
            _ledgers[place.Epoch].Fail(offset, data.Length);
            return;
        }
        Writes++;
        // Whether it has its place in the history by then or not.
        if (failed is not null) ExcuseByDisk(capture, place, failed, "write");
        var newest = capture.Status().Newest.Value;
        if (newest > before)
        {
            if (capture.IsFrozen) throw new SimViolation("one writer", $"{place.Host} took a write while it was drained for a planned failover");
            if (_writers.TryAdd(place.Epoch, place.Host) is false && _writers[place.Epoch] != place.Host)
                throw new SimViolation("one writer", $"{_writers[place.Epoch]} and {place.Host} both took writes in epoch {place.Epoch}");
            if (machine.State is { Fence: null, FormerFences.Length: 0, Phase: Phase.FailoverCommitPending or Phase.FailedOver or Phase.ReverseReplicating } state && place.Epoch < state.Epoch)
                throw new SimViolation("one writer", $"{place.Host} took a write in epoch {place.Epoch}, which was confirmed to be over");
            if (machine.State is { Fence: null, FormerFences.Length: 0, Phase: Phase.Protected, Protection.Replica: not null } home && place.Host != machine.SourceNow && place.Epoch <= home.Epoch)
                throw new SimViolation("one writer", $"{place.Host} took a write in epoch {place.Epoch}, while the machine is protected at {machine.SourceNow}");
            // A flush behind it that fails has a place of its own.
            _ledgers[place.Epoch].Add(before + 1, _sites.ClockAt(place.Host).GetUtcNow(), offset, data, unitAccess && failed is null);
        }
        // What a write that failed has left is seen when its disk is read again; what landed without one has its place in the history later.
        // One whose base was closed to be opened anew reads nothing more.
        else if (failed is not ReadOnlyDeviceException)
        {
            if (failed is null) LookForWhatLanded(capture, place, offset, data);
            place.IsKnown = false;
            _ledgers[place.Epoch].Fail(offset, data.Length);
        }
    }

    /// <summary>No sequence could be reserved for it; it was taken, and must be there.</summary>
    private static void LookForWhatLanded(MachineCapture capture, Place place, int offset, byte[] data)
    {
        if (capture.IsFrozen || capture.IsFenced) throw new SimViolation("one writer", $"{place.Host} said that it took a write, and takes none");
        var shown = new byte[data.Length];
        if (TryRead(capture, offset / SimSource.DiskBytes, offset % SimSource.DiskBytes, shown, out _) && !shown.AsSpan().SequenceEqual(data))
            throw new SimViolation("durable ack", $"{place.Host} said that it took a write which is not on its disk, at {offset}");
    }

    /// <summary>One write more, when all is well: it is taken.</summary>
    internal void WriteOnce()
    {
        if (Running().FirstOrDefault(r => r.Host == machine.SourceNow) is not { Capture: { } capture } || PlaceOf(capture) is not { IsKnown: true } place) return;
        var before = capture.Status().Newest;
        // A whole page: one with a bad sector takes none in part.
        Write(capture, place, 0, 0, new byte[4096], trims: false, unitAccess: false);
        if (capture.Status().Newest == before) throw new SimViolation("never stall", $"everything is well, and {place.Host} takes no write");
    }

    /// <summary>Only where it lies can fail what a guest does, and only who was told to stop refuses it.</summary>
    private void ExcuseByDisk(MachineCapture capture, Place place, Exception failed, string what)
    {
        var host = _sites.HostOf(place.Host == "agent" ? "source" : place.Host);
        var isOfDisk = failed switch
        {
            ReadOnlyDeviceException => capture.IsFrozen || capture.IsFenced,
            ObjectDisposedException => true,
            IOException when place.Host == "agent" => host.Faults.WereFelt && (failed.Message.Contains("'/disks/", StringComparison.Ordinal) || failed.Message.Contains(".bitmap'", StringComparison.Ordinal)),
            IOException => host.Faults.WereFelt || _sites.Rot.WasAt(host.Name),
            _ => false,
        };
        if (!isOfDisk) throw new SimViolation("never stall", $"a {what} of the guest at {place.Host} failed though its disk did not: {failed}");
    }
}
