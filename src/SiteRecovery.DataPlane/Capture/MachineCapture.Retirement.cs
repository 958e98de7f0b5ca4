namespace SiteRecovery.DataPlane.Capture;

/// <content>What a loss of power need not check: regions that are quiet, and whose writes are on the guest's disk for certain. The pump's only, except for the flush itself.</content>
public sealed partial class MachineCapture
{
    private static readonly TimeSpan RetirementInterval = TimeSpan.FromSeconds(60);
    private readonly List<SplitDisk> _quiet = []; // those that are being flushed
    private long _lastRetirement, _flushedTicket;
    private Task _flushing = Task.CompletedTask;

    /// <param name="durable">What the target has said.</param>
    private void Retire(long durable)
    {
        if (_quiet.Count > 0) EndRetirement();
        else if (_time.GetElapsedTime(_lastRetirement) >= RetirementInterval) BeginRetirement(durable);
    }

    /// <summary>A guest that never flushes leaves its writes in memory for long: its disk is flushed for it, while its writes and the stream go on. One of which nothing would be forgotten is left alone.</summary>
    private void BeginRetirement(long durable)
    {
        _lastRetirement = _time.GetTimestamp();
        if (durable > _state.Durable) Save(s => s with { Durable = durable });
        foreach (var disk in _disks)
            if (!_mayForget && disk.Bitmap.HasQuietRegions) _quiet.Add(disk);
            else disk.Bitmap.EndRound();
        if (_quiet.Count > 0) _flushing = Task.Run(FlushQuiet);
    }

    private void FlushQuiet()
    {
        foreach (var disk in _quiet) disk.Flush();
        Volatile.Write(ref _flushedTicket, NextTicket());
    }

    /// <summary>Where a flush has failed, this one or a guest's, what the disks show is not what they have: nothing is retired until the host boots.</summary>
    private void EndRetirement()
    {
        if (!_flushing.IsCompleted) return;
        var flushed = _flushing.IsCompletedSuccessfully;
        if (flushed && !_quiet.TrueForAll(d => d.HasNotedFlushes(Volatile.Read(ref _flushedTicket)))) return;
        if (!flushed) _lastError = _flushing.Exception?.InnerException?.Message;
        else if (!_mayForget && TryFlushMark())
            foreach (var disk in _quiet) disk.Bitmap.RetireRegions();
        _quiet.Clear();
    }
}
