using System.Text;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>
/// A test failover shows its point and what was written to it, which nobody else sees; it is served as long as it runs, whatever becomes of the primary site; and one that was cleaned up has left no
/// trace.
/// </summary>
internal sealed class TestFailovers
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);
    private const int WrittenBytes = 1536;
    private readonly Dictionary<string, Seen> _seen = [];

    /// <summary>Often: each test is read once as soon as it is served.</summary>
    internal void Watch(SimMachine machine, ProtectedMachine state)
    {
        foreach (var test in state.Tests) _seen.TryAdd(test.Id, new Seen());
        foreach (var test in state.RunningTests)
        {
            CheckServed(machine, state, test, _seen[test.Id]);
            if (!_seen[test.Id].IsRead) Read(machine, test);
        }
    }

    /// <summary>Now and then: what is served, and what is left.</summary>
    internal void Check(SimMachine machine)
    {
        if (machine.State is not { } state) return;
        foreach (var test in state.RunningTests.Where(t => _seen.ContainsKey(t.Id))) Read(machine, test);
        foreach (var (host, room) in ((SimHost, MasterTargetRoom?)[])[(machine.Sites.Target, machine.Sites.Target.Room), (machine.Sites.Source, machine.Sites.Source.Room)])
            foreach (var over in _seen.Keys.Where(s => room is not null && state.Tests.All(t => t.Id != s)))
            {
                if (host.Disk.Files(room!.LayerFolderOf(machine.Id, $"test-{over}")) is [var left, ..])
                    throw new SimViolation("test leaves no trace", $"the test failover {over} was cleaned up, and there is {left} at {host.Name}");
                if (room.Exports.Find(NameOf(machine, over)) is not null)
                    throw new SimViolation("test leaves no trace", $"the test failover {over} was cleaned up, and is served at {host.Name}");
            }
    }

    private static string NameOf(SimMachine machine, string test) => $"{machine.Id}~{test}";

    /// <summary>Only its own host may keep it waiting, or what it says of its point.</summary>
    private static void CheckServed(SimMachine machine, ProtectedMachine state, TestRun test, Seen seen)
    {
        var (target, control) = (machine.Sites.Target, machine.Sites.Control);
        var waits = state.Protection?.TargetSite == SimSites.Secondary && target.IsUp && target.Faults.AreNone && !machine.Sites.Rot.WasAt(target.Name)
            && target.Room?.Exports.Find(NameOf(machine, test.Id)) is null && !state.Problems.Any(p => p is { Work: WorkKind.ServeTest, Permanent: true });
        var host = (target.Lives, target.Faults.Felt, control.Disturbed);
        if (!waits || seen.Host != host) (seen.Since, seen.Host) = (null, host);
        if (!waits) return;
        seen.Since ??= machine.Sites.Clock.Elapsed;
        if (machine.Sites.Clock.Elapsed - seen.Since > Bound)
            throw new SimViolation("secondary alone", $"the test failover {test.Id} of {test.Point.Id} is not served for {Bound.TotalSeconds} s: {string.Join("; ", state.Problems.Select(p => p.Reason))}");
    }

    /// <summary>What it shows; and the first time something is written to it.</summary>
    private void Read(SimMachine machine, TestRun test)
    {
        if (machine.RoomOfTarget?.Exports.Find(NameOf(machine, test.Id)) is not { } served) return;
        machine.Guest.Meet();
        var ledgers = machine.Guest.LedgersOf(test.Point).ToArray();
        if (ledgers.Length == 0) return;
        var (seen, host, shown) = (_seen[test.Id], machine.HostOfTarget, new byte[SimSource.DiskCount * SimSource.DiskBytes]);
        for (var disk = 0; disk < SimSource.DiskCount; disk++)
            served.Disks[disk].Device.ReadAsync(0, shown.AsMemory(disk * SimSource.DiskBytes, SimSource.DiskBytes), CancellationToken.None).GetAwaiter().GetResult();
        seen.MayHaveLost |= seen.IsRead && seen.Life != (host.Lives, host.Faults.Felt);
        foreach (var (offset, before, data) in seen.Written)
        {
            if (!seen.MayHaveLost && !shown.AsSpan(offset, data.Length).SequenceEqual(data))
                throw new SimViolation("durable ack", $"what was written to the test failover {test.Id} at {offset} is not there");
            before.CopyTo(shown, offset);
        }
        var from = ledgers.Min(l => l.FirstDifference(test.Point.Sequence.Value, shown));
        if (from >= 0) throw new SimViolation("prefix", $"the test failover {test.Id} shows other bytes than {test.Point.Id}, from {from} on: {ledgers[0]}");
        if (!seen.IsRead) Write(test, seen, served, shown);
        (seen.IsRead, seen.Life) = (true, (host.Lives, host.Faults.Felt));
    }

    /// <summary>Nobody else may see it: neither the store nor another test.</summary>
    private static void Write(TestRun test, Seen seen, IReplicaDisks served, byte[] shown)
    {
        var data = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(test.Id, WrittenBytes)))[..WrittenBytes];
        for (var disk = 0; disk < SimSource.DiskCount; disk++)
        {
            var at = (disk + 1) * test.Id.Sum(c => c) % (SimSource.DiskBytes / WrittenBytes) * WrittenBytes;
            var place = disk * SimSource.DiskBytes + at;
            seen.Written.Add((place, shown[place..(place + WrittenBytes)], data));
            try
            {
                served.Disks[disk].Device.WriteAsync(at, data, forceUnitAccess: false, CancellationToken.None).GetAwaiter().GetResult();
            }
            catch (IOException)
            {
                seen.MayHaveLost = true;
            }
        }
    }

    /// <summary>What is known of one.</summary>
    private sealed class Seen
    {
        /// <summary>Since when it is not served, though nothing keeps it waiting.</summary>
        internal TimeSpan? Since { get; set; }
        internal (int Life, int Felt, int Configuration) Host { get; set; }
        internal bool IsRead { get; set; }
        /// <summary>Of its host, when it was read last.</summary>
        internal (int Life, int Felt) Life { get; set; }
        /// <summary>It was not flushed.</summary>
        internal bool MayHaveLost { get; set; }
        internal List<(int Offset, byte[] Before, byte[] Data)> Written { get; } = [];
    }
}
