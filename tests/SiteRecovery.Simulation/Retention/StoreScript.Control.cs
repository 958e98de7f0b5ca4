using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <content>What is done to a store beside its stream.</content>
internal sealed partial class StoreScript
{
    private void Fork()
    {
        if (Pick() is not { } from) return;
        RecoveryPoint.TryParseId(from.Id, out _, out var sequence);
        _now = _now with { Epoch = _now.Epoch + 1, Disks = from.Disks, Gap = false, Newest = sequence.Value, Ordinal = 0, Incarnation = _now.Held.Incarnation };
        var (epoch, here) = (new Epoch(_now.Epoch), new Reached(Here().Id, from.Disks, from.Second));
        _now = _now with { Latest = here.Id };
        Add($"fork at {from.Id}", run => run.Store.OpenEpoch(epoch, PointOf(run, from.Id)), _now, s => s with { Adds = true, Durable = true, Reached = [here] });
    }

    private void Continue()
    {
        var (after, next) = (new Epoch(_now.Epoch), new Epoch(_now.Epoch + 1));
        _now = _now with { Epoch = next.Value, Gap = true, Newest = _random.Next(5), Ordinal = 0, Incarnation = _now.Held.Incarnation };
        Add("continue", run => run.Store.ContinueEpoch(next, after), _now, s => s with { Adds = true, Durable = true });
    }

    /// <summary>What a replica wrote on the newest position is taken in, in whole pages.</summary>
    private void Fold()
    {
        var (extents, last) = (new List<Extent>(), _now.Newest + _random.Next(3));
        for (var i = _random.Next(4); i > 0; i--) ChangeDisk(extents, [], 9000, 4096);
        var runs = extents.Distinct().GroupBy(e => e.Disk).OrderBy(g => g.Key).Select(g => (Disk: g.Key, Runs: Merged(g))).ToArray();
        var second = _now.Second + 1;
        // What was written has a position of its own.
        if (runs.Length > 0 && last == _now.Newest) last++;
        _now = _now with
        {
            Second = second, Newest = last, Incarnation = _now.Held.Incarnation + 1, Ordinal = 0,
            Held = new StreamPosition(_now.Held.Incarnation + 1, 3 + (runs.Length > 0 ? 1 : 0)),
        };
        var here = Here();
        _now = _now with { Latest = here.Id };
        Add($"fold up to {last}", run => run.Store.Fold([.. runs.Select(r => new WrittenDisk(r.Disk, new SimMemory(here.Disks[r.Disk]), r.Runs))], new Sequence(last), At(second), "what it had"), _now,
            s => s with { Adds = true, Durable = true, IsFold = true, Reached = [here], Marked = (here.Id, "what it had") });
    }

    private static (long Offset, long Length)[] Merged(IEnumerable<Extent> extents)
    {
        var merged = new List<(long Offset, long Length)>();
        foreach (var extent in extents.OrderBy(e => e.Offset))
        {
            if (merged.Count > 0 && merged[^1] is var (offset, length) && extent.Offset <= offset + length) merged[^1] = (offset, Math.Max(length, extent.Offset + extent.Length - offset));
            else merged.Add((extent.Offset, extent.Length));
        }
        return [.. merged];
    }

    private void Protect()
    {
        var keep = _protected.Count == 0 || _random.Next(3) == 0;
        var id = keep ? Pick()?.Id : _protected.First();
        if (id is null || (keep && !_protected.Add(id))) return;
        if (!keep) _protected.Remove(id);
        Add($"{(keep ? "protect" : "give up")} {id}", run => run.Store.Protect(PointOf(run, id), keep), _now, s => s with { Note = (id, keep) });
    }

    private void VerifyPoint()
    {
        if (Pick()?.Id is not { } id) return;
        Add($"verify {id}", run => Assert.Null(run.Store.Verify(PointOf(run, id), CancellationToken.None).Damage), _now);
    }

    private void Prove()
    {
        if (Pick() is not { } at) return;
        var root = RootOf(at.Disks);
        var others = _random.Next(2) * RootHash.BlockBytes;
        Add($"prove {at.Id}", run =>
        {
            // Half way to another one.
            run.Store.ProveNewest(others, CancellationToken.None);
            Assert.Equal(root, run.Store.Prove(PointOf(run, at.Id), CancellationToken.None));
        }, _now);
    }

    internal static string RootOf(byte[][] disks)
    {
        using var root = new RootHash();
        for (ushort disk = 0; disk < disks.Length; disk++)
        {
            root.AddDisk(disk, disks[disk].Length);
            root.AddLeaves([.. disks[disk].Chunk(RootHash.BlockBytes).Select(b => RootHash.LeafOf(b))]);
        }
        return root.Finish();
    }

    private void Maintain()
    {
        var window = YoungSeconds + 2 + _random.Next(8);
        Add($"keep {window} s", run => run.Store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(window), null), CancellationToken.None), _now,
            s => s with { GivesUpTo = _now.Second - window });
    }

    private Reached? Pick() => _young.Count == 0 ? null : _young[_random.Next(_young.Count)];

    private static RecoveryPoint PointOf(StoreRun run, string id) => run.Store.ResolvePoint(new PointSelector.ById(id)) ?? throw new InvalidOperationException($"{id} is not viewable any more");
}
