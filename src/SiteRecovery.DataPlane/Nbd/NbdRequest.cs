using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>A request on its way from its header to its sent reply. Used again and again by its connection.</summary>
internal sealed class NbdRequest
{
    private readonly Action<NbdRequest, Exception?> _completed;
    private readonly Action _continue;
    private ValueTaskAwaiter _device;
    private byte[] _buffer = [];

    /// <param name="completed">Called when a device that did not complete at once has finished.</param>
    internal NbdRequest(Action<NbdRequest, Exception?> completed)
    {
        _completed = completed;
        _continue = Continue;
    }

    internal ulong Cookie;
    internal ushort Command, Flags;
    internal ulong Offset;
    internal uint Length;
    internal int Error;
    internal bool Structured;
    /// <summary>A write that has to be on stable storage before it is answered.</summary>
    internal bool ThenFlush;
    /// <summary>Memory this request was charged for.</summary>
    internal int Charged;
    /// <summary>Bytes of the buffer that follow the reply's header when there is no error.</summary>
    internal int PayloadBytes;

    internal ReadOnlySpan<byte> Payload => Error == 0 ? _buffer.AsSpan(0, PayloadBytes) : [];

    internal void Read(ReadOnlySpan<byte> header)
    {
        Flags = BinaryPrimitives.ReadUInt16BigEndian(header[4..]);
        Command = BinaryPrimitives.ReadUInt16BigEndian(header[6..]);
        Cookie = BinaryPrimitives.ReadUInt64BigEndian(header[8..]);
        Offset = BinaryPrimitives.ReadUInt64BigEndian(header[16..]);
        Length = BinaryPrimitives.ReadUInt32BigEndian(header[24..]);
        (Error, PayloadBytes, Structured, ThenFlush) = (0, 0, false, false);
    }

    internal Memory<byte> Rent(int bytes)
    {
        if (_buffer.Length < bytes)
        {
            Return();
            _buffer = ArrayPool<byte>.Shared.Rent(bytes);
        }
        return _buffer.AsMemory(0, bytes);
    }

    internal void Return()
    {
        if (_buffer.Length > 0) ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    /// <summary>Takes the device's answer later; <c>completed</c> hears of it.</summary>
    internal void Await(ValueTask device)
    {
        _device = device.GetAwaiter();
        _device.UnsafeOnCompleted(_continue);
    }

    /// <summary>Writes the reply's header and returns its length; <see cref="Payload"/> follows it.</summary>
    internal int WriteReplyHeader(Span<byte> into)
    {
        if (!Structured)
        {
            BinaryPrimitives.WriteUInt32BigEndian(into, SimpleReplyMagic);
            BinaryPrimitives.WriteInt32BigEndian(into[4..], Error);
            BinaryPrimitives.WriteUInt64BigEndian(into[8..], Cookie);
            return SimpleReplyBytes;
        }
        if (Error != 0)
        {
            BinaryPrimitives.WriteInt32BigEndian(into[ChunkBytes..], Error);
            BinaryPrimitives.WriteUInt16BigEndian(into[(ChunkBytes + 4)..], 0);
            return WriteChunk(into, ChunkError, 6) + 6;
        }
        if (PayloadBytes == 0) return WriteChunk(into, ChunkNone, 0);
        if (Command == CmdBlockStatus) return WriteChunk(into, ChunkBlockStatus, PayloadBytes);
        BinaryPrimitives.WriteUInt64BigEndian(into[ChunkBytes..], Offset);
        return WriteChunk(into, ChunkOffsetData, 8 + PayloadBytes) + 8;
    }

    private int WriteChunk(Span<byte> into, ushort kind, int length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(into, StructuredReplyMagic);
        BinaryPrimitives.WriteUInt16BigEndian(into[4..], ChunkDone);
        BinaryPrimitives.WriteUInt16BigEndian(into[6..], kind);
        BinaryPrimitives.WriteUInt64BigEndian(into[8..], Cookie);
        BinaryPrimitives.WriteInt32BigEndian(into[16..], length);
        return ChunkBytes;
    }

    private void Continue()
    {
        Exception? failure = null;
        try
        {
            _device.GetResult();
        }
        catch (Exception deviceFailure)
        {
            failure = deviceFailure;
        }
        _device = default;
        _completed(this, failure);
    }
}
