using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Blocks;

public sealed class BatchCodecTests
{
    private static Batch Example()
    {
        var payload = new byte[3 * 4096];
        for (var i = 0; i < payload.Length; i++) payload[i] = (byte)(i / 97);
        var header = new BatchHeader
        {
            Kind = BatchKind.Delta, MachineTag = BatchCodec.TagOf(new MachineId("db1")), Epoch = new Epoch(3), Incarnation = 5, Ordinal = 8,
            First = new Sequence(13), Last = new Sequence(15), Time = new DateTimeOffset(2026, 11, 24, 3, 0, 0, TimeSpan.Zero),
        };
        return BatchCodec.Encode(header,
            [new Extent(0, 4096, 0, ExtentKind.Data), new Extent(1L << 40, 65536, 1, ExtentKind.Zero), new Extent(8192, 8192, 2, ExtentKind.Data)], payload);
    }

    [Fact]
    public void What_was_encoded_is_decoded()
    {
        var batch = Example();
        var read = BatchCodec.Verify(batch.Frame.ToArray());
        Assert.Equal(batch.Header, read.Header);
        Assert.Equal(new Extent(1L << 40, 65536, 1, ExtentKind.Zero), read.ExtentAt(1));
    }

    [Theory]
    [InlineData(PayloadCompression.Lz4)]
    [InlineData(PayloadCompression.Zstd)]
    public void Compression_keeps_the_payload_and_its_end_to_end_hash(PayloadCompression how)
    {
        var batch = Example();
        var packed = BatchCodec.Verify(BatchCodec.Compress(batch, how).Frame.ToArray());
        Assert.Equal(how, packed.Header.Compression);
        Assert.True(packed.Header.StoredBytes < batch.Header.StoredBytes);
        Assert.Equal(batch.Header.RawHash, packed.Header.RawHash);
        var raw = new byte[packed.Header.RawBytes];
        BatchCodec.Decompress(packed, raw);
        Assert.True(batch.StoredPayload.Span.SequenceEqual(raw));
    }

    [Fact]
    public void What_does_not_compress_is_passed_as_it_is()
    {
        var noise = new byte[8192];
        new Random(1).NextBytes(noise);
        var batch = BatchCodec.Encode(Example().Header, [new Extent(0, noise.Length, 0, ExtentKind.Data)], noise);
        Assert.Same(batch, BatchCodec.Compress(batch, PayloadCompression.Zstd));
    }

    [Fact]
    public void Any_flipped_bit_in_a_frame_is_detected()
    {
        var frame = BatchCodec.Compress(Example(), PayloadCompression.Lz4).Frame.ToArray();
        for (var bit = 0; bit < frame.Length * 8; bit++)
        {
            frame[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<InvalidDataException>(() => BatchCodec.Verify(frame));
            frame[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void Any_cut_frame_is_refused()
    {
        var frame = Example().Frame;
        for (var length = 0; length < frame.Length; length++) Assert.Throws<InvalidDataException>(() => BatchCodec.Verify(frame[..length]));
    }

    /// <summary>Yesterday's bytes are read for ever: the file is version 1 as it was first written.</summary>
    [Fact]
    public void Version_1_frames_are_still_read()
    {
        var frame = File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Golden", "v1", "batch.bin"));
        var read = BatchCodec.Verify(frame);
        Assert.Equal(Example().Header, read.Header);
        Assert.True(Example().Frame.Span.SequenceEqual(frame));
    }

    [Fact]
    public void What_was_made_equals_what_is_read_back_of_it()
    {
        var header = new BatchHeader
        {
            Kind = BatchKind.Marker, Marker = MarkerKind.Tick, MachineTag = 1, Epoch = Epoch.First, Incarnation = 1, Ordinal = 1, First = new Sequence(1), Last = new Sequence(1),
            Time = DateTimeOffset.UnixEpoch.AddTicks(12_345_678_901_237),
        };
        var made = BatchCodec.Encode(header, [], "text"u8);
        Assert.Equal(made.Header, BatchCodec.Verify(made.Frame).Header);
    }
}
