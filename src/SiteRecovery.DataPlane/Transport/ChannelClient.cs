using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>The next room at the other end of a connection. Connects when a stream opens; after a cut, the next stream connects anew.</summary>
public sealed class ChannelClient(Func<CancellationToken, ValueTask<Stream>> connect, ChannelOptions options) : IStreamTarget, IAsyncDisposable
{
    private readonly SemaphoreSlim _connecting = new(1, 1);
    private readonly ConcurrentDictionary<(Connection, uint), ClientSession> _sessions = new();
    private Connection? _connection;
    private uint _lastStream;
    private bool _disposed;

    /// <summary>The other end's clock minus ours, as last measured.</summary>
    public TimeSpan? PeerClockOffset => _connection?.PeerClockOffset;
    public bool IsConnected => _connection is { Ended: null };

    public async ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop)
    {
        var connection = await ConnectedAsync(stop);
        var id = Interlocked.Increment(ref _lastStream);
        var session = new ClientSession(connection, id, positions, () => _sessions.TryRemove((connection, id), out _));
        _sessions[(connection, id)] = session;
        if (connection.Ended is { } ended) session.End(ended);
        connection.SendControl(Payload.Frame(FrameType.OpenStream, id, to => Payload.Write(to, opening)));
        try
        {
            await session.WaitOpenedAsync(stop);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    private async ValueTask<Connection> ConnectedAsync(CancellationToken stop)
    {
        await _connecting.WaitAsync(stop);
        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_connection is { Ended: null }) return _connection;
            var stream = await connect(stop);
            try
            {
                await stream.WriteAsync(Preamble.Of(ChannelKind.Data), stop);
            }
            catch
            {
                await stream.DisposeAsync();
                throw;
            }
            var connection = new Connection(stream, options);
            _connection = connection;
            _ = RunAsync(connection);
            return connection;
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async Task RunAsync(Connection connection)
    {
        var reason = await connection.RunAsync((header, payload) =>
        {
            if (_sessions.TryGetValue((connection, header.Stream), out var session)) session.OnFrame(header.Type, payload);
        });
        foreach (var (key, session) in _sessions)
            if (key.Item1 == connection) session.End(reason);
    }

    public async ValueTask DisposeAsync()
    {
        await _connecting.WaitAsync();
        _disposed = true;
        _connecting.Release();
        _connection?.Shutdown("this end closed the channel");
    }
}

internal sealed class ClientSession(Connection connection, uint stream, IPositionListener positions, Action forget) : IStreamSession
{
    private readonly Outbox _outbox = new(connection, stream);
    private readonly TaskCompletionSource<StreamOpened> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Exception?> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ConcurrentDictionary<int, TaskCompletionSource<ulong[]>> _queries = new();
    private readonly SemaphoreSlim _querying = new(4, 4);
    private int _lastQuery;

    public StreamOpened Opened => _opened.Task.Result;
    public Task<Exception?> Closed => _closed.Task;
    // The other end cannot have received what is not sent yet, and what is sent was copied.
    public bool LetsGoOfReceived => true;

    internal async Task WaitOpenedAsync(CancellationToken stop) => await _opened.Task.WaitAsync(stop);

    public ValueTask OfferAsync(Batch batch, CancellationToken stop) => _outbox.OfferAsync(batch, stop);

    public async ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blocks, ServerStream.HashesMax);
        await _querying.WaitAsync(stop);
        var query = Interlocked.Increment(ref _lastQuery);
        var reply = _queries[query] = new TaskCompletionSource<ulong[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        _ = FreeAsync(query, reply.Task);
        if (_closed.Task.IsCompleted) reply.TrySetException(_closed.Task.Result ?? new ChannelException("the stream is closed"));
        else
        {
            connection.SendControl(Payload.Frame(FrameType.HashQuery, stream, to =>
            {
                to.Write(query);
                to.Write(disk);
                to.Write(offset);
                to.Write(blockBytes);
                to.Write(blocks);
            }));
        }
        return await reply.Task.WaitAsync(stop);
    }

    /// <summary>Whoever no longer waits for an answer leaves it under way all the same: the other end still works on it, and on no more than so many.</summary>
    private async Task FreeAsync(int query, Task reply)
    {
        await reply.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _queries.TryRemove(query, out _);
        _querying.Release();
    }

    internal void OnFrame(FrameType type, ReadOnlyMemory<byte> payload)
    {
        using var from = Payload.Reader(payload);
        switch (type)
        {
            case FrameType.StreamOpened: _opened.TrySetResult(Payload.ReadOpened(payload)); break;
            case FrameType.Refused: End(Payload.ReadError(payload)); break;
            case FrameType.Credit: _outbox.AddCredit(from.ReadInt64()); break;
            case FrameType.Received: positions.Received(Payload.ReadPosition(from)); break;
            case FrameType.Durable: positions.Durable(Payload.ReadPosition(from), new Sequence(from.ReadInt64())); break;
            case FrameType.HashReply:
                if (_queries.TryGetValue(from.ReadInt32(), out var reply)) reply.TrySetResult(Payload.ReadHashes(payload.Span[4..]));
                break;
            case FrameType.CloseStream: End(null); break;
            default: throw new InvalidDataException($"{type} is not for this end");
        }
    }

    internal void End(Exception? reason)
    {
        if (!_closed.TrySetResult(reason)) return;
        var error = reason ?? new ChannelException("the stream is closed");
        _outbox.End(error);
        _opened.TrySetException(error);
        _ = _opened.Task.Exception;
        foreach (var query in _queries.Values) query.TrySetException(error);
        forget();
    }

    /// <summary>What was offered is still sent, then the stream says goodbye.</summary>
    public ValueTask DisposeAsync()
    {
        if (_closed.Task.IsCompleted) return ValueTask.CompletedTask;
        _outbox.Close();
        if (!_opened.Task.IsCompletedSuccessfully) End(null);
        return ValueTask.CompletedTask;
    }
}
