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
        public long Offset, End, Ticket; // a free slot has ticket 0, a flush ends at 0
        public TaskCompletionSource? Waiter;
    }

    public DiskGeometry Geometry { get; }
    public long SizeBytes => Geometry.SizeBytes;
    public bool ReadOnly => _machine.IsFenced || _machine.IsFrozen;
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
        if (_machine.IsAsking) await _machine.Answered.WaitAsync(stop).ConfigureAwait(false);
        var slot = TryEnter(offset, from.Length, out var overlapping);
        if (slot < 0) slot = await EnterAsync(offset, from.Length, overlapping!, stop).ConfigureAwait(false);
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
            _machine.Hashing?.Touch(this, offset, from.Length);
            Leave(slot);
        }
        if (forceUnitAccess) await FlushAsync(stop).ConfigureAwait(false);
    }

    public async ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop)
    {
        if (length <= 0) return;
        if (_machine.IsAsking) await _machine.Answered.WaitAsync(stop).ConfigureAwait(false);
        var slot = TryEnter(offset, length, out var overlapping);
        if (slot < 0) slot = await EnterAsync(offset, length, overlapping!, stop).ConfigureAwait(false);
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
            _machine.Hashing?.Touch(this, offset, length);
            Leave(slot);
        }
        if (forceUnitAccess) await FlushAsync(stop).ConfigureAwait(false);
    }

    public ValueTask FlushAsync(CancellationToken stop)
    {
        Flush();
        return default;
    }

    /// <exception cref="IOException">Whoever asked for it must hear that; the machine remembers it.</exception>
    internal void Flush()
    {
        int slot;
        lock (_gate) slot = Register(0, 0);
        try
        {
            File.Flush();
        }
        catch (IOException)
        {
            _machine.NoteFailedFlush(this);
            throw;
        }
        finally
        {
            Leave(slot);
        }
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
    internal bool HasPassed(long ticket) => HasPassed(ticket, flushes: false);

    /// <summary>The same of flushes; of one that failed the machine knows.</summary>
    internal bool HasNotedFlushes(long ticket) => HasPassed(ticket, flushes: true);

    private bool HasPassed(long ticket, bool flushes)
    {
        lock (_gate)
        {
            for (var i = 0; i < _inFlightEnd; i++)
                if (_inFlight[i].Ticket != 0 && _inFlight[i].Ticket <= ticket && _inFlight[i].End == 0 == flushes) return false;
            return true;
        }
    }

    /// <summary>The write's slot, or -1 and what has to end before it is tried again.</summary>
    private int TryEnter(long offset, long length, out Task? overlapping)
    {
        lock (_gate)
        {
            // Checked after registration is possible only under this lock: the fence waits for everybody who passed it.
            _machine.ThrowIfFenced();
            var other = OverlapOf(offset, offset + length);
            overlapping = other < 0 ? null : (_inFlight[other].Waiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            return other < 0 ? Register(offset, offset + length) : -1;
        }
    }

    private async ValueTask<int> EnterAsync(long offset, long length, Task overlapping, CancellationToken stop)
    {
        while (true)
        {
            await overlapping.WaitAsync(stop).ConfigureAwait(false);
            var slot = TryEnter(offset, length, out var next);
            if (slot >= 0) return slot;
            overlapping = next!;
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
