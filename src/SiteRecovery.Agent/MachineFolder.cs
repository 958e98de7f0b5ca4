using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Agent;

/// <summary>
/// What the agent keeps of one machine: what it was told last, beside the state of its capture, so that its disks are served, or fenced, before and without any word
/// from the cluster. Whatever is asked here holds for machines that are not open, too.
/// </summary>
public sealed class MachineFolder(string path, IFileSystem files)
{
    private const string AssignmentFile = "assignment.json", ReleasedFile = "released", StoppedFile = "machine-stopped", StopFencedFile = "stop-fenced", RoomFile = "room";
    /// <summary>More than a new opening of a capture that is kept writes before it takes requests.</summary>
    private const int OpeningBytes = 64 << 10;

    public string Path { get; } = path;

    /// <summary>The machine was shut down for a planned failover.</summary>
    public string StoppedPath => In(StoppedFile);

    private string Name => System.IO.Path.GetFileName(Path);

    /// <summary>What the machine was told last; null where nothing is kept.</summary>
    /// <exception cref="InvalidDataException">What is kept is damaged; the cluster's next word replaces it.</exception>
    public ProtectMachine? Kept() => files.TryReadAll(In(AssignmentFile)) is { } bytes && AgentProtocol.Decode(bytes) is ProtectMachine kept ? kept with { Fresh = false } : null;

    /// <summary>Null also where it is damaged.</summary>
    public ProtectMachine? TryKept()
    {
        try
        {
            return Kept();
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>Something is, and no release has begun to take it away.</summary>
    public bool IsKept => files.Exists(In(AssignmentFile)) || (files.List(Path).Count > 0 && !files.Exists(In(ReleasedFile)));

    public void Save(ProtectMachine assignment)
    {
        files.Replace(In(AssignmentFile), AgentProtocol.Encode(assignment));
        // Behind it: what is left without the one and the other is a machine's whose disks nobody knows.
        files.Delete(In(ReleasedFile));
    }

    /// <summary>The protection that begins here is another one: what was to be done in the one before is not.</summary>
    public void ForgetStops()
    {
        foreach (var stale in (string[])[StoppedFile, StopFencedFile]) files.Delete(In(stale));
    }

    /// <summary>Before anybody is cut off for a new opening that its disk would refuse.</summary>
    /// <exception cref="IOException">The folder takes nothing.</exception>
    public void CheckRoom()
    {
        var room = In(RoomFile);
        try
        {
            files.Replace(room, new byte[OpeningBytes]);
        }
        finally
        {
            foreach (var probe in files.List(Path).Where(f => f.StartsWith(room, StringComparison.Ordinal))) files.Delete(probe);
        }
    }

    /// <summary>The machine is to be stopped by force whenever it has its disks open while its fence stands.</summary>
    public bool IsStopFenced => files.Exists(In(StopFencedFile));

    /// <returns>Why it could not be noted.</returns>
    public Exception? TryNoteStop(bool? stopMachine)
    {
        if (stopMachine is not { } isStopped) return null;
        var note = In(StopFencedFile);
        try
        {
            if (!isStopped) files.Delete(note);
            else if (!files.Exists(note)) files.Replace(note, []);
            return null;
        }
        catch (Exception unnoted) when (unnoted is IOException or UnauthorizedAccessException)
        {
            return unnoted;
        }
    }

    /// <summary>Fences a machine that is not open: durable when it returns.</summary>
    /// <param name="stopMachine">As of one that is open, once it is; null: as it was.</param>
    /// <param name="problem">Why it is not open.</param>
    /// <exception cref="AgentProblem">Nothing is kept of it here, or another program holds one of its disks, and no fence stops that.</exception>
    public MachineStatus Fence(int epoch, bool? stopMachine, string? problem, AgentHost host)
    {
        // What is written into an empty folder would be taken for a machine's.
        if (!IsKept)
            throw new AgentProblem($"this agent keeps nothing of machine {Name}, so it cannot say that it stopped: make sure that the old machine is off");
        var unnoted = TryNoteStop(stopMachine);
        var fenced = MachineCapture.FenceStored(Path, new Epoch(epoch), files, TryKept()?.Disks.Select(d => d.Path) ?? []);
        if (unnoted is not null) throw new IOException(unnoted.Message, unnoted);
        // Without it nobody here knows its disks, and so whether anything else still writes to them.
        var kept = TryKept() ?? throw new AgentProblem($"this agent does not know any more which disks machine {Name} has ({AssignmentFile} is missing or damaged in {Path}), so it cannot say that it stopped: make sure that the old machine is off; once it is known to be, delete {Path} on this host and repeat");
        foreach (var disk in kept.Disks)
        {
            if (!files.Exists(disk.Path)) continue;
            using var free = host.Take(disk.Path);
        }
        return CaptureReports.StatusOfStored(Name, fenced, Path, problem, files);
    }

    public bool IsFenced => MachineCapture.IsFencedStored(Path, files);

    /// <summary>Which disks are, or stand in the way of, a disk of this machine.</summary>
    public Func<ReleasedDisk, bool> Concerns() => TryKept() is { } kept ? disk => disk.Concerns(kept) : IsNamedAfter;

    /// <summary>A disk of the protected, or fenced, machine that is kept here: nobody may write to it without capture.</summary>
    public bool Keeps(ReleasedDisk disk)
    {
        try
        {
            // A release that came to nothing may have left no assignment to a machine that was fenced since.
            return Kept() is { } kept ? disk.Concerns(kept) : IsNamedAfter(disk) && IsFenced;
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            return IsNamedAfter(disk);
        }
    }

    /// <summary>From here on no process finds a protected machine here. Durable when it returns.</summary>
    public void BeginRelease()
    {
        if (files.Exists(In(AssignmentFile))) files.Rename(In(AssignmentFile), In(ReleasedFile));
        files.FlushFolder(Path);
    }

    /// <summary>Durable when it returns. The mark goes last: a release that was cut short is known for one as long as anything is left.</summary>
    public void EndRelease()
    {
        foreach (var file in files.List(Path).Where(f => f != In(ReleasedFile))) files.Delete(file);
        files.FlushFolder(Path);
        files.DeleteFolder(Path);
        files.FlushFolder(System.IO.Path.GetDirectoryName(Path)!);
    }

    private bool IsNamedAfter(ReleasedDisk disk) => disk.ExportName.StartsWith(Name + ".", StringComparison.Ordinal);

    private string In(string file) => System.IO.Path.Combine(Path, file);
}
