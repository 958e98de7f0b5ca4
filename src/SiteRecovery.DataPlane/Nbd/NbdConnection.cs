using System.Buffers.Binary;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>One client from its greeting to its last reply, on a thread of its own.</summary>
internal sealed class NbdConnection
{
    private const int ReceiveBytes = 64 << 10, StatusExtentsMax = 1024;
    private readonly Socket _socket;
    private readonly INbdExports _exports;
    private readonly NbdServerOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly NbdWire _wire;
    private NbdSession _session = null!;
    private NbdReplyQueue _replies = null!;
    private CancellationToken _stopping;
    private volatile string? _exportName;

    internal NbdConnection(Socket socket, INbdExports exports, NbdServerOptions options)
    {
        (_socket, _exports, _options, _wire, _stopping) = (socket, exports, options, new NbdWire(socket), _stop.Token);
    }

    /// <summary>The export the client asked for last; set before it is opened.</summary>
    internal string? ExportName => _exportName;
    internal Task Ended => _ended.Task;

    /// <summary>Cuts the client off and cancels what its requests wait for.</summary>
    internal void Abort()
    {
        _stop.Cancel();
        ShutDown();
    }

    /// <param name="mayServe">Asked once the client has chosen an export; false: it has to go.</param>
    internal void Run(TimeProvider time, Func<bool> mayServe)
    {
        try
        {
            var patience = time.CreateTimer(_ => ShutDown(), null, _options.HandshakeTimeout, Timeout.InfiniteTimeSpan);
            NbdSession? session;
            using (patience) session = new NbdHandshake(_wire, _exports, _options, name => _exportName = name).Run();
            if (session is not null && mayServe()) Serve(session);
        }
        catch (Exception gone) when (NbdServer.IsClientGone(gone))
        {
            // Clients come and go; nothing of theirs is worth more than closing.
        }
        catch (Exception unexpected)
        {
            // Whatever it was, it ends this client only.
            _options.DeviceFailed?.Invoke(_exportName ?? "", unexpected);
        }
        finally
        {
            _wire.Dispose();
            _socket.Dispose();
            _ended.SetResult();
        }
    }

    private void Serve(NbdSession session)
    {
        _session = session;
        _exportName = session.Export.Name;
        using var replies = _replies = new NbdReplyQueue(_wire, _options, FinishedElsewhere, FlushFor, ShutDown);
        _wire.Grow(ReceiveBytes);
        try
        {
            while (ServeNext())
            {
            }
        }
        catch (Exception gone) when (NbdServer.IsClientGone(gone))
        {
            // What still waits would be done later, over what the client has written by its next connection.
            _stop.Cancel();
            throw;
        }
        finally
        {
            replies.Drain();
        }
    }

    /// <summary>Receives one request and hands it to the device; false where the client has to go or wants to.</summary>
    private bool ServeNext()
    {
        if (_wire.Buffered < RequestBytes) _replies.Flush();
        var header = _wire.Take(RequestBytes);
        if (BinaryPrimitives.ReadUInt32BigEndian(header) != RequestMagic) return false;
        var length = BinaryPrimitives.ReadUInt32BigEndian(header[24..]);
        var command = BinaryPrimitives.ReadUInt16BigEndian(header[6..]);
        if (command == CmdDisconnect) return false;
        if (command == CmdWrite && length > _options.MaxRequestBytes) return false;
        var request = _replies.Begin();
        var begun = false;
        try
        {
            request.Read(header);
            var data = command == CmdWrite ? TakePayload(request) : default;
            begun = true;
            request.Structured = _session.StructuredReplies && command is CmdRead or CmdBlockStatus;
            request.Error = Check(request);
            if (request.Error != 0) _replies.Finished(request);
            else Start(request, data);
        }
        finally
        {
            // The client left in the middle of a request: nothing to do, but the request counts as under way.
            if (!begun)
            {
                request.Error = ErrIo;
                _replies.Finished(request);
            }
        }
        return true;
    }

    private ReadOnlyMemory<byte> TakePayload(NbdRequest request)
    {
        var data = _replies.Charge(request, (int)request.Length);
        if (_wire.Buffered < data.Length) _replies.Flush();
        _wire.TakeInto(data.Span);
        return data;
    }

    /// <summary>The errno of a request that must not reach the device, or 0.</summary>
    private int Check(NbdRequest request)
    {
        var device = _session.Export.Device;
        var allowed = request.Command switch
        {
            CmdRead => FlagFua | (_session.StructuredReplies ? FlagDf : 0),
            CmdWriteZeroes => FlagFua | FlagNoHole,
            CmdBlockStatus => FlagFua | FlagReqOne,
            CmdWrite or CmdTrim or CmdFlush => FlagFua,
            _ => -1,
        };
        if (allowed < 0 || (request.Flags & ~allowed) != 0) return ErrInvalid;
        if (request.Command == CmdFlush) return 0;
        var writes = request.Command is CmdWrite or CmdTrim or CmdWriteZeroes;
        if (writes && device.ReadOnly) return ErrPermission;
        var size = (ulong)device.SizeBytes;
        if (request.Offset > size || request.Length > size - request.Offset)
            return request.Command is CmdWrite or CmdWriteZeroes ? ErrNoSpace : ErrInvalid;
        return request.Command switch
        {
            CmdRead => request.Length > _options.MaxRequestBytes ? ErrInvalid : 0,
            CmdBlockStatus => !_session.BaseAllocation || request.Length == 0 ? ErrInvalid : 0,
            _ => 0,
        };
    }

    private void Start(NbdRequest request, ReadOnlyMemory<byte> data)
    {
        ValueTask work;
        try
        {
            work = Begin(request, data);
            if (work.IsCompleted)
            {
                work.GetAwaiter().GetResult();
                if (request.ThenFlush) _replies.FlushLater(request);
                else _replies.Finished(request);
                return;
            }
        }
        catch (Exception failure)
        {
            Fail(request, failure);
            _replies.Finished(request);
            return;
        }
        request.Await(work);
    }

    private ValueTask Begin(NbdRequest request, ReadOnlyMemory<byte> data)
    {
        var device = _session.Export.Device;
        var offset = (long)request.Offset;
        request.ThenFlush = request.Command == CmdFlush || ((request.Flags & FlagFua) != 0 && request.Command is CmdWrite or CmdWriteZeroes or CmdTrim);
        switch (request.Command)
        {
            case CmdRead:
                request.PayloadBytes = (int)request.Length;
                return device.ReadAsync(offset, _replies.Charge(request, (int)request.Length), _stopping);
            case CmdWrite:
                return device.WriteAsync(offset, data, false, _stopping);
            case CmdFlush:
                return default;
            case CmdBlockStatus:
                return StatusAsync(request);
            default:
                var mayTrim = request.Command == CmdTrim || (request.Flags & FlagNoHole) == 0;
                return request.Length == 0 ? default : device.WriteZeroesAsync(offset, request.Length, mayTrim, false, _stopping);
        }
    }

    private async ValueTask StatusAsync(NbdRequest request)
    {
        var extents = await _session.Export.Device.StatusAsync((long)request.Offset, request.Length, _stopping).ConfigureAwait(false);
        var limit = (request.Flags & FlagReqOne) != 0 ? 1 : StatusExtentsMax;
        var payload = request.Rent(4 + 8 * limit);
        BinaryPrimitives.WriteUInt32BigEndian(payload.Span, BaseAllocationId);
        var left = (long)request.Length;
        int count = 0, last = 0;
        long run = 0;
        foreach (var extent in extents)
        {
            if (left == 0) break;
            var state = (int)((extent.Hole ? StateHole : 0) | (extent.Zero ? StateZero : 0));
            var length = Math.Min(extent.Length, left);
            if (length <= 0) continue;
            if (count == 0 || state != last)
            {
                if (count == limit) break;
                (count, last, run) = (count + 1, state, 0);
            }
            (run, left) = (run + length, left - length);
            BinaryPrimitives.WriteUInt32BigEndian(payload.Span[(8 * count - 4)..], (uint)run);
            BinaryPrimitives.WriteInt32BigEndian(payload.Span[(8 * count)..], state);
        }
        if (count == 0) throw new IOException("the device told nothing about the range");
        request.PayloadBytes = 4 + 8 * count;
    }

    private void FinishedElsewhere(NbdRequest request, Exception? failure)
    {
        if (failure is not null) Fail(request, failure);
        if (failure is null && request.ThenFlush) _replies.FlushLater(request);
        else _replies.FinishedElsewhere(request);
    }

    /// <summary>One flush for all that wait for one: it covers every write that finished before.</summary>
    private void FlushFor(IReadOnlyList<NbdRequest> waiting)
    {
        try
        {
            var flush = _session.Export.Device.FlushAsync(_stopping);
            if (flush.IsCompleted) flush.GetAwaiter().GetResult();
            else flush.AsTask().GetAwaiter().GetResult();
        }
        catch (Exception failure)
        {
            foreach (var request in waiting) Fail(request, failure);
        }
    }

    private void Fail(NbdRequest request, Exception failure)
    {
        request.Error = failure switch
        {
            ReadOnlyDeviceException => ErrPermission,
            OperationCanceledException when _stopping.IsCancellationRequested => ErrShutdown,
            OutOfMemoryException => ErrMemory,
            IOException { HResult: ErrNoSpace } => ErrNoSpace,
            _ => ErrIo,
        };
        if (request.Error is not (ErrPermission or ErrShutdown)) _options.DeviceFailed?.Invoke(_session.Export.Name, failure);
    }

    private void ShutDown()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception gone) when (NbdServer.IsClientGone(gone))
        {
            // Closed already.
        }
    }
}
