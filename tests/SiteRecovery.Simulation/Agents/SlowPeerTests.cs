using System.Security.Cryptography;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A large frame takes its time over a slow network, and meanwhile nothing else comes from whoever sends it.</summary>
public sealed class SlowPeerTests
{
    private const int PieceBytes = 64 << 10, Pieces = 12;
    private static readonly ChannelOptions Defaults = new();

    [Fact]
    public async Task One_that_sends_a_frame_for_longer_than_a_silence_may_last_is_heard()
    {
        var clock = new SimClock();
        var sent = RandomNumberGenerator.GetBytes(Pieces * PieceBytes);
        var frame = new byte[FrameHeader.Bytes + sent.Length];
        new FrameHeader(FrameType.Batch, 1, sent.Length).Write(frame);
        sent.CopyTo(frame, FrameHeader.Bytes);
        await using var trickle = new Trickle(frame, clock);
        byte[]? got = null;
        var connection = new Connection(trickle, Defaults with { Time = clock });
        trickle.Over = connection.Stopping;
        var why = await connection.RunAsync((_, payload) => got = payload.ToArray());
        Assert.Equal("the connection was closed by the other end", why.Message);
        Assert.Equal(sent, got);
        Assert.True(clock.Elapsed > 2 * Defaults.IdleTimeout);
    }

    /// <summary>Gives a piece each time the other end has had to say that it is still there.</summary>
    private sealed class Trickle(byte[] bytes, SimClock clock) : Stream
    {
        private readonly SemaphoreSlim _pinged = new(0);
        private int _given;

        internal CancellationToken Over { get; set; }
        public override bool CanRead => true;
        public override bool CanWrite => true;
        public override bool CanSeek => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await _pinged.WaitAsync(Over);
            var count = Math.Min(Math.Min(buffer.Length, PieceBytes), bytes.Length - _given);
            bytes.AsMemory(_given, count).CopyTo(buffer);
            _given += count;
            for (var until = clock.Elapsed + Defaults.PingEvery; clock.Next(until);)
            {
            }
            return count;
        }

        public override Task FlushAsync(CancellationToken cancellationToken)
        {
            _pinged.Release();
            return Task.CompletedTask;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override void Flush() => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            base.Dispose(disposing);
            _pinged.Release(); // whoever waits for a piece finds that it is over
        }
    }
}
