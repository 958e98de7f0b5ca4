using System.Collections.Concurrent;
using System.Threading.Channels;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Receiving end of data connections: every stream is opened at <paramref name="next"/>, if the peer may.</summary>
/// <param name="authorise">Null lets the stream in; a text is why not.</param>
public sealed class ChannelServer(IStreamTarget next, ChannelOptions options, Func<Peer?, StreamOpening, string?> authorise)
{
    private readonly CreditBudget _budget = new(options);

    /// <summary>Serves one connection behind its preamble until it ends; the result is why.</summary>
    public async Task<Exception> RunAsync(Stream stream, Peer? peer, CancellationToken stop)
    {
        var connection = new Connection(stream, options);
        var streams = new ConcurrentDictionary<uint, ServerStream>();
        using var cut = stop.Register(() => connection.Shutdown("this end stops"));
        var reason = await connection.RunAsync((header, payload) =>
        {
            if (header.Type == FrameType.OpenStream)
            {
                if (streams.Count >= options.StreamsMax) throw new InvalidDataException("too many streams");
                var opened = new ServerStream(connection, header.Stream, _budget, () => streams.TryRemove(header.Stream, out _));
                if (!streams.TryAdd(header.Stream, opened)) throw new InvalidDataException("the stream is open already");
                opened.Start(next, Payload.ReadOpening(payload), opening => authorise(peer, opening));
            }
            else if (streams.TryGetValue(header.Stream, out var stream)) stream.OnFrame(header.Type, payload);
        });
        await Task.WhenAll(streams.Values.Select(stream => stream.Finished));
        return reason;
    }
}

/// <summary>One stream at the receiver: its own queue, limited by the credit it granted, and its own task.</summary>
internal sealed class ServerStream(Connection connection, uint stream, CreditBudget budget, Action forget) : IPositionListener
{
    internal const int HashesMax = 65536, HashedBlockBytesMax = 1 << 20, QueriesMax = 8;
    private readonly Outbox _outbox = new(connection, stream);
    private readonly Channel<ReadOnlyMemory<byte>> _inbox = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
    private readonly CancellationTokenSource _stop = CancellationTokenSource.CreateLinkedTokenSource(connection.Stopping);
    private CancellationToken _stopping; // outlives its source, which would keep a place at the connection's for as long as that lives
    private readonly Queue<Batch> _held = new();
    private readonly CreditWindow _window = new();
    private long _granted;
    private int _queries;
    private IStreamSession? _session;

    internal Task Finished { get; private set; } = Task.CompletedTask;
    internal CancellationToken Stopping => _stopping;

    internal void Start(IStreamTarget next, StreamOpening opening, Func<StreamOpening, string?> authorise)
    {
        _stopping = _stop.Token;
        Finished = Task.Run(() => RunAsync(next, opening, authorise));
    }

    public void Received(StreamPosition position)
    {
        _outbox.Received(position);
        if (_session is { LetsGoOfReceived: true }) Recycle(position);
    }

    public void Durable(StreamPosition position, Sequence sequence) => _outbox.Durable(position, sequence);

    internal void OnFrame(FrameType type, ReadOnlyMemory<byte> payload)
    {
        switch (type)
        {
            case FrameType.Batch:
                if (Interlocked.Add(ref _granted, -payload.Length) < 0) throw new InvalidDataException("the sender exceeds its credit");
                _inbox.Writer.TryWrite(payload);
                break;
            case FrameType.HashQuery:
                if (_session is { } session && Interlocked.Increment(ref _queries) <= QueriesMax) _ = Task.Run(() => ReplyAsync(session, payload));
                // This stream's affair, and no other one's.
                else _inbox.Writer.TryComplete(new InvalidDataException("too many hash queries, or too early"));
                break;
            case FrameType.CloseStream: _inbox.Writer.TryComplete(); break;
            default: throw new InvalidDataException($"{type} is not for this end");
        }
    }

    private async Task RunAsync(IStreamTarget next, StreamOpening opening, Func<StreamOpening, string?> authorise)
    {
        var opened = false;
        try
        {
            if (authorise(opening) is { } refusal) throw new ChannelException(refusal);
            await using var session = await next.OpenAsync(opening, this, _stopping);
            Volatile.Write(ref _session, session);
            connection.SendControl(Payload.Frame(FrameType.StreamOpened, stream, to => Payload.Write(to, session.Opened)));
            Grant(budget.Open(_window));
            opened = true;
            _ = session.Closed.ContinueWith(closed => _inbox.Writer.TryComplete(closed.Result ?? new ChannelException("the next room closed the stream")), TaskScheduler.Default);
            await foreach (var frame in _inbox.Reader.ReadAllAsync(_stopping))
            {
                var batch = BatchCodec.Verify(frame);
                if (session.LetsGoOfReceived)
                    lock (_held) _held.Enqueue(batch);
                await session.OfferAsync(batch, _stopping);
                Grant(budget.Processed(_window, frame.Length));
            }
            connection.SendControl(Payload.Frame(FrameType.CloseStream, stream));
        }
        catch (Exception error)
        {
            if (connection.Ended is null) connection.SendControl(Payload.Frame(FrameType.Refused, stream, to => Payload.WriteError(to, error)));
        }
        finally
        {
            await _stop.CancelAsync();
            _stop.Dispose();
            if (opened) budget.Close(_window);
            _outbox.End(new ChannelException("the stream is over"));
            forget();
        }
    }

    private void Recycle(StreamPosition received)
    {
        lock (_held)
            while (_held.TryPeek(out var batch) && batch.Position.CompareTo(received) <= 0) FramePool.Shared.Return(_held.Dequeue().Frame);
    }

    private void Grant(int bytes)
    {
        if (bytes == 0) return;
        Interlocked.Add(ref _granted, bytes);
        _outbox.Grant(bytes);
    }

    private async Task ReplyAsync(IStreamSession session, ReadOnlyMemory<byte> payload)
    {
        try
        {
            using var from = Payload.Reader(payload);
            var query = from.ReadInt32();
            var (disk, offset, blockBytes, blocks) = (from.ReadUInt16(), from.ReadInt64(), from.ReadInt32(), from.ReadInt32());
            // The far end's word decides how much is read, and into how large an array.
            if (blocks is < 0 or > HashesMax || blockBytes is < 1 or > HashedBlockBytesMax || offset < 0 || offset > long.MaxValue - (long)blocks * blockBytes) throw new InvalidDataException("impossible hash query");
            var hashes = await session.HashesAsync(disk, offset, blockBytes, blocks, _stopping);
            connection.SendControl(Payload.Frame(FrameType.HashReply, stream, to =>
            {
                to.Write(query);
                foreach (var hash in hashes) to.Write(hash);
            }));
        }
        catch (Exception error)
        {
            _inbox.Writer.TryComplete(error);
        }
        finally
        {
            Interlocked.Decrement(ref _queries);
        }
    }
}
