using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.MasterTargets;

/// <summary>The end of a protection at the replica that is the machine: its disks become their owner's. Nothing that a guest wrote to it is deleted, whatever of it cannot be read.</summary>
internal static class ReleaseWork
{
    /// <param name="mayTakeUnserved">It cannot be served, and will not be by trying again; else it is, sooner or later, and whoever runs on it is asked to end first.</param>
    /// <param name="givesUp">What could not be read of it has been waited for: it is handed over without.</param>
    /// <returns>Null: the order is of a protection before.</returns>
    internal static async Task<DataPlaneReport?> ReleaseAsync(MasterTargetRoom room, ReleaseReplica release, bool mayTakeUnserved, bool givesUp, CancellationToken stop)
    {
        var (machine, layer) = (release.Machine, StoreWork.LayerOf(release.Layer));
        // However late it comes: the store of the next protection is not meant, and goes with it at the end.
        if (!room.Stores.TryEnd(machine, release.Epoch)) return null;
        var (files, folder, released) = (room.Files, room.LayerFolderOf(machine, layer), room.ReleasedFolderOf(machine, layer));
        if (!files.FolderExists(released))
        {
            await WithdrawAsync(room, release, folder, mayTakeUnserved, stop);
            var mayHaveForgotten = MayHaveForgotten(room, folder);
            if (files.FolderExists(folder) && RawLayers.FlushWhole(folder, StoreWork.GeometryOf(release.Disks), files, mayHaveForgotten, givesUp, stop))
            {
                files.CreateDirectory(Path.GetDirectoryName(released)!);
                files.Rename(folder, released); // from here on nobody takes them for a replica
            }
            else if (files.FolderExists(room.Stores.FolderOf(machine))) await GiveAwayAsync(room, release.Machine, released, stop);
            else return Released($"Nothing was left of it at its master target, neither its disks nor a store: {folder} is not there");
        }
        // Also where an attempt before this one ended in front of it: the store goes next, and without power the disks would be in neither place.
        files.FlushFolder(Path.GetDirectoryName(released)!);
        files.FlushFolder(Path.GetDirectoryName(folder)!);
        if (!release.Disks.All(d => files.Exists(LayerFile(d.Index) + ".data") || files.Exists(RawFile(d.Index))))
            return Released($"It could not be handed over as raw files. All that was left of it is in {released}: its store, of whose points 'srctl store export' makes images, and in replica/{layer} "
                + "what was written since the failover: disk-N.data, of which disk-N.map says what counts; after the job 'flatten' all of it does");
        foreach (var disk in release.Disks)
        {
            if (files.Exists(LayerFile(disk.Index) + ".data")) files.Rename(LayerFile(disk.Index) + ".data", RawFile(disk.Index));
            if (files.Exists(LayerFile(disk.Index) + ".map")) files.Delete(LayerFile(disk.Index) + ".map");
        }
        // Not read: what is damaged must not keep the disks from their owner.
        var definition = room.Machines.DefinitionPathOf(machine);
        if (files.Exists(definition)) files.Rename(definition, Path.Combine(released, Path.GetFileName(definition)));
        // The store goes next, and with it what they could be made from again.
        files.FlushFolder(released);
        await room.Stores.RemoveAsync(machine, stop);
        return Released(released);

        ReplicaReleased Released(string where) => new(machine, StoreWork.IdOf(release), release.Epoch, release.Layer, where);

        string LayerFile(int disk) => Path.Combine(released, ReplicaLayers.FileOf((ushort)disk));

        string RawFile(int disk) => Path.Combine(released, $"disk-{disk}.raw");
    }

    /// <summary>A store goes; but not where the replica that was the machine still lies in it, because its disk was away when that was released.</summary>
    internal static async Task RemoveStoreAsync(MasterTargetRoom room, RemoveStore remove, CancellationToken stop)
    {
        var layer = StoreWork.LayerOf(remove.Epoch);
        if (ReplicaMachine.WasServed(room.LayerFolderOf(remove.Machine, layer), room.Files)) await GiveAwayAsync(room, remove.Machine, room.ReleasedFolderOf(remove.Machine, layer), stop);
        else await room.Stores.RemoveAsync(remove.Machine, stop);
    }

    private static async Task WithdrawAsync(MasterTargetRoom room, ReleaseReplica release, string folder, bool mayTakeUnserved, CancellationToken stop)
    {
        if (StoreWork.ReplicaOf(room, release.Machine) is { } replica)
        {
            if (!replica.Flatten()) throw new IOException($"the disks of {release.Machine} are being flattened");
            if (room.Exports.ClientsOf(release.Machine.Value, replica) is > 0 and var clients)
                throw new IOException($"the machine runs: its disks are open {clients} times. Shut it down; it can be started from the raw files that it leaves");
        }
        else if (!mayTakeUnserved && room.Files.FolderExists(folder)) throw new IOException($"the replica of {release.Machine} is not served yet");
        await StoreWork.StopAsync(room, release.Machine, stop);
    }

    private static async Task GiveAwayAsync(MasterTargetRoom room, Domain.History.MachineId machine, string released, CancellationToken stop)
    {
        room.Files.CreateDirectory(Path.GetDirectoryName(released)!);
        await room.Stores.GiveAwayAsync(machine, released, stop);
    }

    private static bool MayHaveForgotten(MasterTargetRoom room, string folder)
    {
        try
        {
            return ReplicaMachine.MayHaveForgotten(folder, room.Files);
        }
        catch (Exception unknown) when (unknown is IOException or System.Text.Json.JsonException)
        {
            return true;
        }
    }
}
