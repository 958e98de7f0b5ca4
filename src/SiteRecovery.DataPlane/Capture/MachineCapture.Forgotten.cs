namespace SiteRecovery.DataPlane.Capture;

/// <content>
/// A flush that failed. An operating system takes what it could not write for written: the disk shows it for a while, and forgets it with its power or before, when the target has long had it and no bit says so.
/// </content>
public sealed partial class MachineCapture
{
    private const string ForgottenReason = "a flush of a disk failed, and what the disk showed since then it may have forgotten";

    /// <summary>Until the host boots, which is when it shows.</summary>
    private volatile bool _mayForget;

    /// <summary>Of a boot before this one: the disk shows what is left.</summary>
    private bool HasForgotten => _state.FlushFailedIn is { } then && (then != _bootId || then == NoBootId);

    internal void NoteFailedFlush(SplitDisk disk)
    {
        _mayForget = true;
        if (_state.FlushFailedIn is null) SaveFailedFlush();
        ShowAtOnce(disk);
    }

    private void SaveFailedFlush()
    {
        NoteInBitmaps();
        try
        {
            Save(s => s with { FlushFailedIn = _bootId });
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            // Perhaps the same disk. The next one that fails tries again, and so does every other save.
            _lastError = unsaved.Message;
        }
    }

    /// <summary>What cannot be saved now may never be: the process may end before the next one tries.</summary>
    private void NoteInBitmaps()
    {
        foreach (var disk in _disks)
        {
            try
            {
                disk.Bitmap.NoteFailedFlush(new Guid(_bootId));
            }
            catch (Exception unnoted) when (unnoted is IOException or UnauthorizedAccessException)
            {
                _lastError = unnoted.Message;
            }
        }
    }

    /// <summary>
    /// Its guest has heard of it, and is to read what is there and not what may be gone in the next moment; the target has what was shown, so all of the disk is compared. A machine that takes no writes is looked at as a whole by whoever made it so.
    /// </summary>
    private void ShowAtOnce(SplitDisk disk)
    {
        if (_fenced || _frozen) return;
        disk.File.ForgetCached();
        lock (_log)
        {
            LoseStream(ForgottenReason);
            _marking++;
            // No position is two states.
            if (IsExhausted) DoWithoutSequence();
            else _newest++;
        }
        try
        {
            disk.Bitmap.Unsynced.SetAll();
            disk.Bitmap.Flush();
        }
        catch (IOException unsaved)
        {
            _lastError = unsaved.Message; // what is noted says the same to the next process
        }
        finally
        {
            lock (_log) _marking--;
            _signal.Set();
        }
    }

    /// <summary>
    /// Once nobody writes any more: what they are said to hold, and are compared by, is what will be left of them. To forget is a change like any other, and has a place in the history: no position is two states.
    /// </summary>
    private void ShowWhatIsOnDisk()
    {
        if (!_mayForget) return;
        foreach (var disk in _disks) disk.File.ForgetCached();
        lock (_log) TakeSequence();
        MarkAllUnsynced(ForgottenReason);
    }

    /// <summary>
    /// Nobody knows what befell the disks before this protection, and a flush that failed is told only once: what they show must not be what they forget later. They are not flushed, which may take long: what is on
    /// its way to a disk stays, and where it does not arrive, the next flush says so.
    /// </summary>
    private void ForgetWhatIsOnlyShown()
    {
        foreach (var disk in _disks) disk.File.ForgetCached();
    }

    /// <summary>The disks have been written anew since, and that is durable: they will forget nothing of what they show. Whoever says so has marked everything as unsynced.</summary>
    /// <exception cref="IOException">It could not be written down: nothing of that is so.</exception>
    public void ForgetFailedFlush()
    {
        if (!_mayForget) return;
        foreach (var disk in _disks) disk.Bitmap.ForgetFailedFlush();
        _mayForget = false;
        Save(s => s with { FlushFailedIn = null });
    }

    /// <summary>
    /// Of a disk that one's own flush has just said is well. A flush that failed is told only once, and perhaps to a guest's that has not noted it yet: whoever goes on by <see cref="_mayForget"/> waits for those that were
    /// begun before his own ended.
    /// </summary>
    private Predicate<SplitDisk> FlushesNoted()
    {
        var ticket = NextTicket();
        return disk => disk.HasNotedFlushes(ticket);
    }

    private void TryFlush(SplitDisk disk)
    {
        try
        {
            disk.Flush();
        }
        catch (IOException failed)
        {
            _lastError = failed.Message;
        }
    }
}
