using System.Buffers.Binary;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A whole data connection at the receiving end, without its TLS: streams are opened, fed and asked, until it ends.</summary>
/// <param name="intoStore">They come to a master target's stores, which must be whole afterwards whatever was sent.</param>
internal sealed class ChannelTarget(bool intoStore) : FuzzTarget
{
    private const string Root = "/stores";

    private readonly WireTarget _frames = new();
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    internal override string Name => intoStore ? "channel-store" : "channel";
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 32L << 20;

    internal override IEnumerable<byte[]> Seeds()
    {
        if (intoStore)
        {
            yield return [.. WireTarget.WholeStream().SelectMany(f => f)];
            yield return [.. WireTarget.WholeStream().SkipLast(1).SelectMany(f => f)];
        }
        yield return [.. WireTarget.Samples().SelectMany(f => f)];
        yield return [.. WireTarget.Samples().Take(4).SelectMany(f => f), .. Payload.Frame(FrameType.CloseStream, 1)];
        foreach (var frame in WireTarget.Samples()) yield return frame;
    }

    internal override void Repair(byte[] input, Random random) => _frames.Repair(input, random);

    internal override void Run(byte[] input)
    {
        if (!intoStore)
        {
            Receive(new Room(), input);
            return;
        }
        var files = new MemoryFiles();
        var stores = new StoreReceiver(Root, files, StoreSample.Clock);
        Receive(stores, input);
        stores.DisposeAsync().AsTask().WaitAsync(Patience).GetAwaiter().GetResult();
        foreach (var folder in files.Paths.Where(p => p.EndsWith("/" + StoreManifest.FileName, StringComparison.Ordinal)).Select(p => Path.GetDirectoryName(p)!)) LookAt(folder, files);
    }

    private static void Receive(IStreamTarget room, byte[] input)
    {
        var server = new ChannelServer(room, new ChannelOptions { WindowBytes = 1 << 20 }, (_, _) => null);
        var stream = new Script(input);
        var reason = server.RunAsync(stream, null, CancellationToken.None).WaitAsync(Patience).GetAwaiter().GetResult();
        if (reason is not ChannelException) throw new InvalidOperationException("a connection ends by a reason of its own", reason);
    }

    private static void LookAt(string folder, MemoryFiles files)
    {
        using var store = RetentionStore.Open(folder, files, StoreSample.Clock);
        if (store.Verify() is { Count: > 0 } damage) throw new InvalidOperationException($"what was sent has damaged a store: {damage[0]}");
        if (store.ConsistentUpTo is not { } newest) return;
        var (view, block) = (store.At(newest), new byte[4096]);
        foreach (var disk in view.Disks.Where(d => d.SizeBytes >= block.Length))
        {
            try
            {
                view.Read(disk.Index, 0, block);
            }
            catch (IOException lost) when (lost.InnerException is InvalidDataException)
            {
                // What its source has packed otherwise than it says: nothing is unpacked before somebody reads it, and then it is said.
            }
        }
        view.Release();
    }

    /// <summary>Frame by frame; the next one comes when the last one was answered, or nothing was heard while others had their turns.</summary>
    private sealed class Script(byte[] input) : Stream
    {
        private const int Turns = 50;
        private readonly SemaphoreSlim _answered = new(0);
        private int _at, _end;

        public override bool CanRead => true;
        public override bool CanWrite => true;
        public override bool CanSeek => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_at == _end)
            {
                // Not a timer: for whoever has to answer a turn comes long before the shortest of them ends.
                for (var turn = 0; turn < Turns && NextNeedsAStream && !_answered.Wait(0, cancellationToken); turn++) await Task.Yield();
                _end = NextEnd();
            }
            var count = Math.Min(buffer.Length, _end - _at);
            input.AsSpan(_at, count).CopyTo(buffer.Span);
            _at += count;
            return count;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            _answered.Release();
            return default;
        }

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        private bool NextNeedsAStream => _at > 0 && input.Length - _at >= FrameHeader.Bytes && input[_at] is (byte)FrameType.Batch or (byte)FrameType.HashQuery;

        private int NextEnd()
        {
            if (input.Length - _at < FrameHeader.Bytes) return input.Length;
            var length = BinaryPrimitives.ReadInt32LittleEndian(input.AsSpan(_at + 8));
            return length < 0 || length > input.Length - _at - FrameHeader.Bytes ? input.Length : _at + FrameHeader.Bytes + length;
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override void Flush() => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }

    /// <summary>Takes everything, and has hashes of a disk of zeroes.</summary>
    private sealed class Room : IStreamTarget
    {
        public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) => new(new Session(positions));

        private sealed class Session(IPositionListener positions) : IStreamSession
        {
            public StreamOpened Opened { get; } = new(default, default, new Sequence(0), false);
            public bool LetsGoOfReceived => true;
            public Task<Exception?> Closed { get; } = new TaskCompletionSource<Exception?>().Task;

            public ValueTask OfferAsync(Batch batch, CancellationToken stop)
            {
                positions.Received(batch.Position);
                positions.Durable(batch.Position, batch.Header.Last);
                return default;
            }

            public ValueTask<ulong[]> HashesAsync(ushort disk, long offset, int blockBytes, int blocks, CancellationToken stop) => new(new ulong[blocks]);

            public ValueTask DisposeAsync() => default;
        }
    }
}
