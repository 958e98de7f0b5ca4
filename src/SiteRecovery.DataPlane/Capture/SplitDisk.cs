using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>A disk whose writes go to its file and, in the order in which they landed, into the machine's history.</summary>
public sealed class SplitDisk : IBlockDevice
{
    private readonly MachineCapture _machine;
    private readonly Lock _gate = new();
    private InFlight[] _inFlight = new InFlight[16];
    private int _inFlightEnd;

    internal SplitDisk(MachineCapture machine, DiskGeometry geometry, IBlockFile file, BitmapFile bitmap)
    {
        (_machine, Geometry, File, Bitmap) = (machine, geometry, file, bitmap);
        Sent = new BlockBits(null, 0, bitmap.Unsynced.Blocks);
    }

    private struct InFlight
    {
        public long Offset, End, Ticket; // a free slot has ticket 0
        public TaskCompletionSource? Waiter;
    }

    public DiskGeometry Geometry { get; }
    public long SizeBytes => Geometry.SizeBytes;
    public bool ReadOnly => _machine.IsFenced;
    internal IBlockFile File { get; }
    internal BitmapFile Bitmap { get; }
    /// <summary>Synchronized in this incarnation, not yet durable at the target.</summary>
    internal BlockBits Sent { get; }

    public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop)
    {
        File.Read(offset, into.Span);
        return ValueTask.CompletedTask;
    }

    public async ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop)
    {
        if (from.Length == 0) return;
        var slot = await EnterAsync(offset, from.Length, stop).ConfigureAwait(false);
        try
        {
            Bitmap.Mark(offset, from.Length);
            File.Write(offset, from.Span);
            _machine.Append(this, offset, from.Length, ExtentKind.Data, from.Span);
        }
        catch
        {
            _machine.LoseWrite(this, offset, from.Length);
            throw;
        }
        finally
        {
            Leave(slot);
        }
        if (forceUnitAccess) File.Flush();
    }

    public async ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
    {
        if (length <= 0) return;
        var slot = await EnterAsync(offset, length, stop).ConfigureAwait(false);
        try
        {
            Bitmap.Mark(offset, length);
            File.Zero(offset, length);
            _machine.Append(this, offset, length, ExtentKind.Zero, default);
        }
        catch
        {
            _machine.LoseWrite(this, offset, length);
            throw;
        }
        finally
        {
            Leave(slot);
        }
        if (forceUnitAccess) File.Flush();
    }

    public ValueTask FlushAsync(CancellationToken stop)
    {
        File.Flush();
        return ValueTask.CompletedTask;
    }

    public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop)
    {
        var extents = new List<BlockStatusExtent>();
        for (var end = Math.Min(offset + length, SizeBytes); offset < end && extents.Count < 1024;)
        {
            var (run, hole) = File.RunAt(offset);
            run = Math.Clamp(run, 1, end - offset);
            extents.Add(new BlockStatusExtent(run, hole, hole));
            offset += run;
        }
        return new ValueTask<IReadOnlyList<BlockStatusExtent>>(extents);
    }

    /// <summary>True when no write that took its ticket at or before <paramref name="ticket"/> is still under way.</summary>
    internal bool HasPassed(long ticket)
    {
        lock (_gate)
        {
            for (var i = 0; i < _inFlightEnd; i++)
                if (_inFlight[i].Ticket != 0 && _inFlight[i].Ticket <= ticket) return false;
            return true;
        }
    }

    private async ValueTask<int> EnterAsync(long offset, long length, CancellationToken stop)
    {
        while (true)
        {
            Task overlapping;
            lock (_gate)
            {
                // Checked after registration is possible only under this lock: the fence waits for everybody who passed it.
                _machine.ThrowIfFenced();
                var other = OverlapOf(offset, offset + length);
                if (other < 0) return Register(offset, offset + length);
                overlapping = (_inFlight[other].Waiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            }
            await overlapping.WaitAsync(stop).ConfigureAwait(false);
        }
    }

    private int OverlapOf(long offset, long end)
    {
        for (var i = 0; i < _inFlightEnd; i++)
            if (_inFlight[i].Ticket != 0 && _inFlight[i].Offset < end && offset < _inFlight[i].End) return i;
        return -1;
    }

    private int Register(long offset, long end)
    {
        var slot = 0;
        while (slot < _inFlightEnd && _inFlight[slot].Ticket != 0) slot++;
        if (slot == _inFlight.Length) Array.Resize(ref _inFlight, slot * 2);
        if (slot == _inFlightEnd) _inFlightEnd++;
        _inFlight[slot] = new InFlight { Offset = offset, End = end, Ticket = _machine.NextTicket() };
        return slot;
    }

    private void Leave(int slot)
    {
        TaskCompletionSource? waiter;
        lock (_gate)
        {
            waiter = _inFlight[slot].Waiter;
            _inFlight[slot] = default;
            while (_inFlightEnd > 0 && _inFlight[_inFlightEnd - 1].Ticket == 0) _inFlightEnd--;
        }
        waiter?.TrySetResult();
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
