using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>What a store actor does of its machine's work, piece by piece. Every piece may be repeated.</summary>
internal static class StoreWork
{
    private const int TestNameDigits = 8; // hexadecimal: 32 bits tell the few tests of a machine apart that run at a time, and its sockets' paths stay short
    /// <summary>A verification that waits longer is told again.</summary>
    private static readonly TimeSpan VerifyPatience = TimeSpan.FromSeconds(4), LookEvery = TimeSpan.FromMilliseconds(20);

    /// <param name="mayTakeUnserved">The machine's replica cannot be served, and will not be by trying again.</param>
    /// <param name="givesUp">What the order needs has not been readable for so long that it counts as lost.</param>
    /// <returns>A report to the machine, or a tail to tell; null: nothing.</returns>
    internal static async Task<object?> PerformAsync(MasterTargetRoom room, MachineId machine, object order, bool mayTakeUnserved, bool givesUp, CancellationToken stop)
    {
        switch (order)
        {
            case HoldStore hold:
                room.Stores.Hold(hold.Machine, GeometryOf(hold.Disks), hold.Epoch, encrypt: hold.Policy.RetentionEncrypted);
                room.Machines.Keep(hold.Machine, hold.Definition);
                return null;
            case OpenEpoch open:
                await room.Stores.OpenEpochAsync(open.Machine, open.Epoch, open.Point, stop);
                return new EpochOpened(open.Machine, IdOf(open), open.Epoch);
            case VerifyTarget verify:
                return await VerifyAsync(room, verify, stop);
            case ServeReplica serve:
                return await ServeAsync(room, serve, givesUp, stop);
            case FlattenReplica flatten:
                return ReplicaOf(room, flatten.Machine) is { } replica && replica.Flatten() ? new ReplicaFlattened(flatten.Machine, IdOf(flatten), flatten.Epoch, flatten.Layer) : null;
            case ServeAgain:
                await ServeAgainAsync(room, machine, stop);
                return null;
            case ReleaseReplica release:
                room.Machines.Release(release.Machine.Value, release.Epoch);
                return await ReleaseWork.ReleaseAsync(room, release, mayTakeUnserved, givesUp, stop);
            case ReplicateReplica replicate:
                await ReplicateAsync(room, replicate, stop);
                return null;
            case FenceReplica fence:
                return await FenceAsync(room, fence, stop);
            case ContinueStore next:
                return await ContinueAsync(room, next, givesUp, stop);
            case TellTail tail:
                return await TailOfLoserAsync(room, tail, givesUp, stop);
            case MarkTail tail:
                return Mark(room, tail);
            case ServeTest test:
                // However late it comes: nobody would remove it again.
                return room.RemovedTests.Contains(NameOf(test.Machine, test.Test)) ? null : await ServeAsync(room, test, stop);
            case RemoveTest test:
                room.RemovedTests.Add(NameOf(test.Machine, test.Test));
                await room.Machines.RemoveAsync(await MachineOfAsync(room, test.Machine, test.Test, stop), NameOf(test.Machine, test.Test), stop);
                await room.Exports.StopAsync(NameOf(test.Machine, test.Test), stop);
                room.DeleteLayer(test.Machine, $"test-{test.Test}");
                return new TestRemoved(test.Machine, IdOf(test), test.Test);
            case RemoveStore remove:
                // However late it comes: the next protection's is not meant.
                if (room.Stores.TryEnd(remove.Machine, remove.Epoch))
                {
                    await StopAsync(room, remove.Machine, stop);
                    await ReleaseWork.RemoveStoreAsync(room, remove, stop);
                }
                return new StoreRemoved(remove.Machine, IdOf(remove), remove.Epoch);
            case WorkEnded { Work: ServeReplica ended }:
                // However late it comes: what is served since then is not meant.
                if (ServedIn(room, ended.Machine) is not { } serves || serves <= ended.Epoch) await StopAsync(room, ended.Machine, stop);
                return null;
            default:
                throw new InvalidOperationException($"a master target cannot do {order.GetType().Name}");
        }
    }

    internal static CommandId IdOf(Work work) => new(work is ServeTest test ? test.Test : $"{work.Kind}:{work.Epoch}");

    internal static ReplicaMachine? ReplicaOf(MasterTargetRoom room, MachineId machine) => room.Exports.Find(machine.Value) as ReplicaMachine;

    /// <summary>What a replica that is fenced wrote without knowing it durable at the other side.</summary>
    private static async Task<TailTold> TailOfLoserAsync(MasterTargetRoom room, TellTail order, bool givesUp, CancellationToken stop)
    {
        var (tail, loser) = (order.Work, order.Work.Loser!);
        var folder = room.LayerFolderOf(tail.Machine, LayerOf(loser.Layer));
        var (newest, told, ranges) = await ReadAsync();
        long[] numbers = [.. ranges.SelectMany(r => new[] { r.Disk, r.Offset, r.Length })];
        var parts = numbers.Chunk(TailFound.NumbersMax).DefaultIfEmpty([]).ToArray();
        return new TailTold(order.To, [.. parts.Select((part, i) => new TailFound(tail.Machine, tail.Epoch, tail.Replica, i, [.. part], newest, told, Last: i == parts.Length - 1))]);

        async Task<(Sequence Newest, StreamPosition Told, IEnumerable<DiskRange> Ranges)> ReadAsync()
        {
            try
            {
                // Opened all the same, it would begin anew, fenced by nobody.
                var newest = ReplicaMachine.EndOf(folder, room.Files) ?? throw new IOException($"what the replica of {tail.Machine} wrote is gone: reverse the replication with full");
                var (told, ranges) = await TailAsync();
                return (newest, told, ranges);
            }
            catch (Exception lost) when (lost is JsonException || (givesUp && DiskFailure.IsUnreadable(lost)))
            {
                throw new IOException($"what the replica of {tail.Machine} wrote cannot be told any more: reverse the replication with full ({lost.Message})", lost);
            }
        }

        async Task<(StreamPosition Told, IEnumerable<DiskRange> Ranges)> TailAsync()
        {
            var store = room.Stores.StoreOf(tail.Machine);
            try
            {
                await using var replica = await ReplicaMachine.OpenAsync(store, loser.Point, folder, loser.Layer, Domain.Policies.ReplicationPolicy.Default, _ => 0, room, stop);
                return replica.Tail();
            }
            catch (InvalidDataException)
            {
                return (default, AllOf(store)); // what it lay over has rotted away: it differs anywhere
            }
        }
    }

    /// <summary>What came here of the old source's tail lies in the store; the rest it has told.</summary>
    private static DataPlaneReport Mark(MasterTargetRoom room, MarkTail tail)
    {
        var replica = ReplicaOf(room, tail.Machine) ?? throw new IOException($"the replica of {tail.Machine} is not served yet");
        var store = room.Stores.StoreOf(tail.Machine);
        DiskRange[] all = [.. tail.Ranges.On(store.Disks) ?? AllOf(store), .. SinceParting(store, tail)];
        replica.MarkUnsynced(all);
        return new TailMarked(tail.Machine, new CommandId($"{WorkKind.TakeBackTail}:{tail.Epoch}"), tail.Epoch, tail.Newest, all.Length, all.Sum(r => r.Length));
    }

    /// <summary>Where the old source may differ by what has come here of it: everywhere, where that is not known any more. Else what rotted away would be compared nowhere, or nothing ever.</summary>
    private static IEnumerable<DiskRange> SinceParting(RetentionStore store, MarkTail tail)
    {
        try
        {
            return store.ExtentsSinceParting(tail.Replica.Point, tail.Replica.Layer, tail.Told).Select(e => new DiskRange(e.Disk, e.Offset, e.Length));
        }
        catch (Exception unknown) when (unknown is IOException or InvalidDataException)
        {
            return AllOf(store);
        }
    }

    private static IEnumerable<DiskRange> AllOf(RetentionStore store) => store.Disks.Select(d => new DiskRange(d.Index, 0, d.SizeBytes));

    internal static string LayerOf(Epoch layer) => $"epoch-{layer}";

    // A machine's name has no '~'.
    private static string NameOf(MachineId machine, string test) => $"{machine}~{test}";

    /// <summary>As the hypervisor knows it. A test's id may be as long as whoever began it likes, and have any characters.</summary>
    private static async Task<string> MachineOfAsync(MasterTargetRoom room, MachineId machine, string test, CancellationToken stop)
    {
        var former = $"{machine}-test-{string.Concat(test[^Math.Min(8, test.Length)..].Select(c => char.IsAsciiLetterOrDigit(c) ? c : '-'))}";
        // A test that an earlier version began goes on; of two whose ids end alike only the one on whose disks the machine runs has it.
        if (await room.Machines.IsOnAsync(former, NameOf(machine, test), stop)) return former;
        return $"{machine}-test-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(test)))[..TestNameDigits]}";
    }

    internal static async Task StopAsync(MasterTargetRoom room, MachineId machine, CancellationToken stop)
    {
        await room.Machines.RemoveAsync(machine.Value, machine.Value, stop);
        await room.Exports.StopAsync(machine.Value, stop);
        // Last: as long as its machine may run it is known what it runs on.
        room.Served.Forget(machine);
    }

    internal static DiskGeometry[] GeometryOf(ImmutableArray<DiskSpec> disks) => [.. disks.Select(d => new DiskGeometry((ushort)d.Index, d.Name, d.SizeBytes))];

    private static async Task<DataPlaneReport> ServeAsync(MasterTargetRoom room, ServeReplica serve, bool givesUp, CancellationToken stop)
    {
        var (store, name) = (room.Stores.StoreOf(serve.Machine), serve.Machine.Value);
        var served = await PublishAsync(room, store, serve, givesUp, stop);
        room.Served.Keep(serve);
        // What was written to a replica at another point went with that point.
        for (var epoch = 2; epoch < serve.Layer.Value; epoch++) room.DeleteLayer(serve.Machine, LayerOf(new Epoch(epoch)));
        // A machine that was shut down for its move stays down, also when this node has started anew meanwhile.
        var replica = ReplicaOf(room, serve.Machine);
        var console = replica is { IsFrozen: true } || await room.Machines.StaysStoppedAsync(name, serve.Epoch, stop) ? null
            : await room.Machines.RunAsync(serve.Machine, name, name, ReplicaPurpose.Failover, PlacesOf(store, served), serve.Networks, mustRun: replica is not { Work.Drain: true }, stop);
        return new ReplicaServed(serve.Machine, IdOf(serve), serve.Epoch, Exported(served), console, FirstsOf(room, name, name));
    }

    /// <summary>What cannot be read must not keep a replica from being fenced, nor from being served by an order.</summary>
    private static ServeReplica? OrderToServe(MasterTargetRoom room, MachineId machine)
    {
        try
        {
            return room.Served.OrderOf(machine);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Its disks alone: the machine runs on, or waits for who may start it. Also of one whose layer answers nothing any more, behind a flush that failed.</summary>
    private static async Task ServeAgainAsync(MasterTargetRoom room, MachineId machine, CancellationToken stop)
    {
        if (room.Served.OrderOf(machine) is not { } serve || ReplicaOf(room, machine) is { HasFailed: false }) return;
        try
        {
            if (room.Stores.Has(machine)) await PublishAsync(room, room.Stores.StoreOf(machine), serve, givesUp: false, stop);
        }
        catch (StaleEpochException)
        {
            await StopAsync(room, machine, stop); // the store went on without it, and so does what ran on it
        }
    }

    private static async Task<IReadOnlyList<ServedDisk>> PublishAsync(MasterTargetRoom room, RetentionStore store, ServeReplica serve, bool givesUp, CancellationToken stop)
    {
        var (name, folder) = (serve.Machine.Value, room.LayerFolderOf(serve.Machine, LayerOf(serve.Layer)));
        if (room.Files.FolderExists(room.ReleasedFolderOf(serve.Machine, LayerOf(serve.Layer)))) throw new IOException($"the replica of {serve.Machine} has been released");
        // However late an order comes: a replica that the store has left behind is served no more, nor one in the place of its own later life.
        if (serve.Layer < store.CurrentEpoch) throw new StaleEpochException(store.CurrentEpoch);
        if (ReplicaOf(room, serve.Machine) is { } now)
        {
            if (now.Epoch > serve.Epoch) throw new StaleEpochException(now.Epoch);
            // Nobody else would open it again, and its machine waits for its disks.
            if (now.HasFailed) await room.Exports.StopAsync(name, stop);
            // The end of another one may have failed, and nobody repeats that.
            if (now.Folder != folder) await StopAsync(room, serve.Machine, stop);
        }
        // The machine that runs on another one must not find other disks under the same names.
        if (OrderToServe(room, serve.Machine) is { } before && (before.Layer != serve.Layer || before.Point.Id != serve.Point.Id)) await StopAsync(room, serve.Machine, stop);
        // Nor where nobody can say which one that is: as long as another one is there it may be that.
        var (last, isKnown) = room.Served.LayerOf(serve.Machine);
        if (!isKnown && ReplicaOf(room, serve.Machine) is null && HasLayersBefore(room, serve))
        {
            await StopAsync(room, serve.Machine, stop);
            (last, isKnown) = (null, true);
        }
        var wasServed = last == serve.Layer || !isKnown || ReplicaMachine.WasServed(folder, room.Files);
        // A store that failed was opened anew: what still reads from the old one reads nothing.
        var key = (store, serve.Point.Id, serve.Layer, serve.Epoch);
        try
        {
            return await room.Exports.ServeAsync(name, key, async () =>
            {
                if (last == serve.Layer) ReplicaMachine.ThrowIfLost(folder, store.Disks, room.Files);
                else if (!isKnown && !ReplicaMachine.WasServed(folder, room.Files))
                    throw new InvalidDataException($"{room.Served.PathOf(serve.Machine)} is damaged, and no layer is there that could be the one it names: if the machine never ran here since its failover, delete that file");
                return await ReplicaMachine.OpenAsync(store, serve.Point, folder, serve.Epoch, serve.Policy, replica => room.Exports.ClientsOf(name, replica), room, stop);
            }, stop);
        }
        catch (Exception lost) when ((lost is InvalidDataException or JsonException || (givesUp && DiskFailure.IsUnreadable(lost))) && wasServed)
        {
            // What it stands on is gone since then, or its layer, or what says whether it was fenced, and no order that is repeated brings that back.
            throw new InvalidDataException(
                $"{lost.Message}. The replica of {serve.Machine} cannot be served any more: choose another recovery point before the failover is committed, fail over to the other site, "
                + "or, where neither is allowed, disable the protection and start the machine from the old source's disks or from a backup", lost);
        }
    }

    /// <summary>A replica at a point before this one is there yet.</summary>
    private static bool HasLayersBefore(MasterTargetRoom room, ServeReplica serve) =>
        Enumerable.Range(2, Math.Max(0, serve.Layer.Value - 2)).Any(epoch => ReplicaMachine.WasServed(room.LayerFolderOf(serve.Machine, LayerOf(new Epoch(epoch))), room.Files));

    private static async Task<DataPlaneReport> ServeAsync(MasterTargetRoom room, ServeTest test, CancellationToken stop)
    {
        var (store, folder) = (room.Stores.StoreOf(test.Machine), room.LayerFolderOf(test.Machine, $"test-{test.Test}"));
        var (name, machine) = (NameOf(test.Machine, test.Test), await MachineOfAsync(room, test.Machine, test.Test, stop));
        // Nobody else would open it again, and whoever tests would take it for the machine's.
        if (room.Exports.Find(name) is TestDisks { HasFailed: true }) await room.Exports.StopAsync(name, stop);
        var served = await room.Exports.ServeAsync(name, (store, test.Point.Id),
            () => Task.FromResult<IReplicaDisks>(new TestDisks(new ReplicaLayers(store, test.Point, folder, room.Files, stop: stop))), stop);
        var console = await room.Machines.RunAsync(test.Machine, machine, name, ReplicaPurpose.Test, PlacesOf(store, served), test.Networks, mustRun: false, stop);
        return new TestServed(test.Machine, IdOf(test), test.Test, Exported(served), console, FirstsOf(room, name, machine));
    }

    private static ReplicaFirsts? FirstsOf(MasterTargetRoom room, string served, string machine) =>
        room.Exports.FirstsOf(served) is { } firsts ? new(firsts.ServedAgo, room.Machines.StartedAgo(machine), firsts.ReadAgo, firsts.WroteAgo) : null;

    private static Dictionary<string, string> PlacesOf(RetentionStore store, IReadOnlyList<ServedDisk> served) =>
        served.ToDictionary(s => store.Disks.First(d => d.Index == s.Disk).Name, s => s.Uri);

    private static ImmutableArray<DiskExport> Exported(IReadOnlyList<ServedDisk> served) => [.. served.Select(s => new DiskExport(s.Disk, s.Uri))];

    private static async Task ReplicateAsync(MasterTargetRoom room, ReplicateReplica order, CancellationToken stop)
    {
        room.Routes.Set(order.Work.Machine, new DataPlane.ProcessServer.MachineRoute("", order.Work.Policy.Compression, order.Host, order.Port));
        // Served first, in the same epoch; until then the order is told again.
        if (ReplicaOf(room, order.Work.Machine) is { } replica && room.Upstreams.Of(order.Work.Machine) is { } target)
        {
            var machine = order.Work.Machine.Value;
            var unasked = order.Work.Drain && !replica.IsPast(order.Work) ? await AskAsync(drain: true) : null;
            // An order of before the drain, or of before it was called off, changes nothing.
            if (await replica.ObeyAsync(order.Work, target, room.Machines.IsAskedToStop(machine))) unasked ??= await AskAsync(drain: false);
            if (unasked is not null) throw new IOException(unasked.Message, unasked);

            // Without its hypervisor the machine's disks are replicated, and drained, all the same.
            async Task<Exception?> AskAsync(bool drain)
            {
                try
                {
                    await room.Machines.DrainAsync(machine, machine, drain, stop);
                    return null;
                }
                catch (Exception unreachable) when (unreachable is not OperationCanceledException)
                {
                    return unreachable;
                }
            }
        }
    }

    private static async Task<DataPlaneReport?> VerifyAsync(MasterTargetRoom room, VerifyTarget verify, CancellationToken stop)
    {
        // Before the epoch: until it is open the machine only has to be started again where it was.
        await room.Machines.CheckAsync(verify.Machine, stop);
        var store = room.Stores.StoreOf(verify.Machine);
        for (var waited = TimeSpan.Zero; store.ConsistentUpTo?.Sequence != verify.Source.At || store.DurableSequence < verify.Source.At; waited += LookEvery)
        {
            if (waited > VerifyPatience) return null;
            await Task.Delay(LookEvery, room.Time, stop);
        }
        var point = store.ConsistentUpTo!;
        var hash = await Task.Run(() => store.Prove(point, stop), stop);
        return hash == verify.Source.RootHash
            ? new TargetVerified(verify.Machine, IdOf(verify), verify.Epoch, point, hash)
            : new TargetDiffers(verify.Machine, IdOf(verify), verify.Epoch, verify.Source.RootHash, $"At {point.Id} the source's root hash is {verify.Source.RootHash}, but the target's is {hash}.");
    }

    private static async Task<DataPlaneReport?> FenceAsync(MasterTargetRoom room, FenceReplica fence, CancellationToken stop)
    {
        var folder = room.LayerFolderOf(fence.Machine, LayerOf(fence.Layer));
        // The failover whose source it was has been called off, and it goes on: neither is it fenced, nor may its layers be opened beside it.
        if (GoesOn(room, fence, folder)) return null;
        // One that serves a later epoch is not meant. A machine may run on disks that are not served, for a while.
        var serves = ServedIn(room, fence.Machine);
        // First of all it takes no more writes: whoever runs it may not be there to be asked.
        try
        {
            if (ReplicaOf(room, fence.Machine) is { } served && served.Epoch < fence.Epoch) await served.Capture.FenceAsync(fence.Epoch, stop);
        }
        finally
        {
            if (serves is not { } epoch || epoch < fence.Epoch) await StopAsync(room, fence.Machine, stop);
        }
        ReplicaMachine.Fence(folder, fence.Epoch, room.Files);
        return new SourceFenced(fence.Machine, IdOf(fence), fence.Epoch, ReplicaMachine.EndOf(folder, room.Files));
    }

    /// <summary>The very replica that was to be fenced is served in that epoch or a later one, or is to be.</summary>
    private static bool GoesOn(MasterTargetRoom room, FenceReplica fence, string folder) => ReplicaOf(room, fence.Machine) is { } served
        ? served.Folder == folder && served.Epoch >= fence.Epoch
        : OrderToServe(room, fence.Machine) is { } order && order.Layer == fence.Layer && order.Epoch >= fence.Epoch;

    /// <summary>In which epoch a machine's replica is served, or is to be; null: there is none.</summary>
    private static Epoch? ServedIn(MasterTargetRoom room, MachineId machine) => ReplicaOf(room, machine)?.Epoch ?? OrderToServe(room, machine)?.Epoch;

    private static async Task<DataPlaneReport> ContinueAsync(MasterTargetRoom room, ContinueStore next, bool givesUp, CancellationToken stop)
    {
        var (machine, from) = (next.Machine, next.Continuation);
        // No stream opens it, and nobody else is told to hold it meanwhile.
        room.Stores.LetGoOfFailed(machine);
        // Begun with nothing while the old source could not be asked yet, it knows nothing of the disks that can be taken now.
        if (from.FromDisks && room.Stores.Has(machine) && room.Stores.StoreOf(machine) is { IsEmpty: true } begun && begun.CurrentEpoch < next.Epoch) await room.Stores.RemoveAsync(machine, stop);
        if (!room.Stores.Has(machine)) Begin(room, next);
        if (room.Stores.StoreOf(machine) is var store && store.CurrentEpoch < next.Epoch)
        {
            // Also where an attempt before this one ended between the two.
            if (next.Encrypted) store.Encrypt(true);
            await StopAsync(room, machine, stop);
            if (from.Fold is { } layer) new LosingLayer(room, next, layer, givesUp).Keep(stop);
            else if (from.FromDisks && IsOnDisks(store)) store.Fold([], next.Newest, room.Time.GetUtcNow(), LosingLayer.LabelOf(next));
        }
        // Also when it was kept by an earlier attempt, which could not tell it any more.
        var kept = store.Points.LastOrDefault(p => p.Label == LosingLayer.LabelOf(next));
        // One that was begun since then, in the place of one that is gone, does not know it.
        var after = LosingLayer.MayGoWithout(from) && !store.Knows(from.After) ? store.CurrentEpoch : from.After;
        await room.Stores.ContinueEpochAsync(machine, next.Epoch, after, stop);
        if (from.Fold is { } folded) room.DeleteLayer(machine, LayerOf(folded));
        return new StoreContinued(machine, IdOf(next), next.Epoch, kept);
    }

    /// <summary>The old source's disks become the base of a new store, never to be written again.</summary>
    private static void Begin(MasterTargetRoom room, ContinueStore next)
    {
        var (from, bases) = (next.Continuation, new Dictionary<ushort, string>());
        // Only disks that were the old source say what it had.
        if (from.FromDisks)
        {
            foreach (var disk in next.Disks)
            {
                if (WhyNoBase(room, disk) is not { } why) bases[(ushort)disk.Index] = Path.GetFullPath(disk.Path);
                else if (!from.MayStartEmpty) throw new IOException($"this master target {why}: it must run where the old source's disks are; if they are gone, reverse the replication with full");
            }
            if (bases.Count < next.Disks.Length) bases.Clear();
        }
        else if (!LosingLayer.MayGoWithout(from)) throw new IOException($"this master target holds no store of {next.Machine} any more: reverse the replication with full");
        room.Stores.Hold(next.Machine, GeometryOf(next.Disks), from.After, bases.Count > 0 ? bases : null);
    }

    private static string? WhyNoBase(MasterTargetRoom room, DiskSpec disk)
    {
        try
        {
            if (!room.Files.Exists(disk.Path)) return $"does not see {disk.Path}";
            using var file = room.Files.Open(disk.Path, FileOpening.Read);
            return file.LengthBytes == disk.SizeBytes ? null : $"sees {file.LengthBytes} bytes of {disk.Path}, which had {disk.SizeBytes}";
        }
        catch (Exception closed) when (closed is IOException or UnauthorizedAccessException)
        {
            return $"cannot open {disk.Path} ({closed.Message})";
        }
    }

    private static bool IsOnDisks(RetentionStore store) => store.Disks.Any(d => d.Base is not null);
}
