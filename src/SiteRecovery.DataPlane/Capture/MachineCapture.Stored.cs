using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <content>Captures that are not open.</content>
public sealed partial class MachineCapture
{
    /// <summary>Fences a capture that is not open, for whoever opens it next. Durable when it returns.</summary>
    /// <param name="disks">Where they lie: what they show now is what is told to be the end, so it must not be forgotten. One that cannot be opened is left as it is.</param>
    /// <returns>What is kept of it from then on. One of a later protection, which this fence does not mean, is left as it is.</returns>
    /// <exception cref="System.Text.Json.JsonException">capture.json is damaged; such a capture does not open.</exception>
    public static (Epoch Epoch, bool IsFenced) FenceStored(string stateFolder, Epoch epoch, IFileSystem files, params IEnumerable<string> disks)
    {
        var path = Path.Combine(stateFolder, "capture.json");
        var known = CaptureState.TryLoad(files, path);
        var stored = known ?? new CaptureState();
        if (stored.Epoch > epoch.Value) return (new Epoch(stored.Epoch), stored.Fenced);
        var boot = HostBoot.IdOf(files);
        if (BitmapFile.HasNotedFailedFlush(files, stateFolder, boot)) stored = stored with { FlushFailedIn = boot.ToString() };
        // Before: whoever opens it fenced says where it ended.
        foreach (var disk in disks.Where(files.Exists))
        {
            if (TryFlush(disk, known is null || stored.FlushFailedIn is not null, files)) continue;
            stored = stored with { FlushFailedIn = boot.ToString() };
            BitmapFile.NoteFailedFlush(files, stateFolder, boot); // what comes next may fail, and a flush that failed is told once
        }
        if (stored.FlushFailedIn is not null) stored = stored with { CleanAt = null }; // where it was closed it may have held more
        (stored with { Fenced = true, Epoch = epoch.Value, Durable = 0 }).Save(files, path);
        return (epoch, true);
    }

    /// <summary>A flush of a disk of a capture that is not open has failed in this boot of the host, or nobody can say that none has. After a boot the disks show what is left.</summary>
    /// <exception cref="System.Text.Json.JsonException">capture.json is damaged; such a capture does not open.</exception>
    public static bool MayForgetStored(string stateFolder, IFileSystem files)
    {
        var boot = HostBoot.IdOf(files);
        return CaptureState.TryLoad(files, Path.Combine(stateFolder, "capture.json")) is { FlushFailedIn: { } then } && then == boot.ToString() || BitmapFile.HasNotedFailedFlush(files, stateFolder, boot);
    }

    /// <summary>A capture that is not open is fenced, or nobody can say that it is not.</summary>
    public static bool IsFencedStored(string stateFolder, IFileSystem files)
    {
        try
        {
            return CaptureState.TryLoad(files, Path.Combine(stateFolder, "capture.json")) is { Fenced: true };
        }
        catch (System.Text.Json.JsonException)
        {
            return true;
        }
    }

    /// <summary>Where a capture that is not open ended; null where there is none. After a crash a bound: no later sequence was given out.</summary>
    public static Sequence? EndStored(string stateFolder, IFileSystem files) =>
        CaptureState.TryLoad(files, Path.Combine(stateFolder, "capture.json")) is { } stored ? new Sequence(stored.CleanAt ?? stored.Reserved) : null;

    /// <summary>False: it may have forgotten what it took.</summary>
    /// <param name="mayForget">An earlier flush of it has failed, or nobody knows.</param>
    private static bool TryFlush(string disk, bool mayForget, IFileSystem files)
    {
        IBlockFile file;
        try
        {
            file = files.Open(disk, FileOpening.ReadWrite);
        }
        catch (Exception closed) when (closed is IOException or UnauthorizedAccessException)
        {
            return true; // which may be why the machine is not open
        }
        using (file)
        {
            try
            {
                file.Flush();
                if (mayForget) file.ForgetCached();
                return true;
            }
            catch (IOException)
            {
                file.ForgetCached();
                return false;
            }
        }
    }
}
