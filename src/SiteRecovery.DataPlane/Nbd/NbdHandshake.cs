using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>What a client and the server agreed on.</summary>
internal sealed record NbdSession(NbdExport Export, bool StructuredReplies, bool BaseAllocation);

/// <summary>Haggles over options until the client chooses an export or leaves.</summary>
internal sealed class NbdHandshake(NbdWire wire, INbdExports exports, NbdServerOptions options, Action<string> opening)
{
    private bool _noZeroes, _structured;
    private string? _contextExport, _refusal;

    /// <summary>The session, or null where the client left or had to go.</summary>
    internal NbdSession? Run()
    {
        Span<byte> greeting = stackalloc byte[18];
        BinaryPrimitives.WriteUInt64BigEndian(greeting, ServerMagic);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], OptionMagic);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], FixedNewstyle | NoZeroes);
        wire.Send(greeting);
        var flags = wire.TakeUInt32();
        if ((flags & ~(uint)(FixedNewstyle | NoZeroes)) != 0) return null;
        _noZeroes = (flags & NoZeroes) != 0;
        for (var count = 0; count < options.MaxOptions; count++)
        {
            var header = wire.Take(OptionHeaderBytes);
            if (BinaryPrimitives.ReadUInt64BigEndian(header) != OptionMagic) return null;
            var option = BinaryPrimitives.ReadUInt32BigEndian(header[8..]);
            var length = BinaryPrimitives.ReadUInt32BigEndian(header[12..]);
            if (!Answer(option, length, out var session)) return session;
        }
        return null;
    }

    /// <summary>Answers one option; false ends the handshake, with a session where an export was opened.</summary>
    private bool Answer(uint option, uint length, out NbdSession? session)
    {
        session = null;
        if (length > OptionBytesMax)
        {
            if (option == OptExportName) return false;
            Reply(option, RepErrTooBig, "the option is too long");
            // A moderately long option is read past; a client that announces more is not worth the bytes.
            if (length > 8 * OptionBytesMax) return false;
            wire.Skip(length);
            return true;
        }
        var data = new byte[length];
        wire.TakeInto(data);
        if (!wire.Encrypted && (options is { Tls: not null, TlsRequired: true } || options.Refuses is not null) && option is not (OptStartTls or OptAbort))
            return TurnedAway(option, RepErrTlsRequired, "this server asks for TLS");
        if (_refusal is not null && option is not OptAbort) return TurnedAway(option, RepErrPolicy, _refusal);
        switch (option)
        {
            case OptExportName:
                session = ByName(data);
                return false;
            case OptAbort:
                Reply(option, RepAck);
                return false;
            case OptList:
                List(data);
                return true;
            case OptStartTls:
                StartTls(data);
                return true;
            case OptInfo or OptGo:
                session = Info(option, data);
                return session is null;
            case OptStructuredReply:
                if (data.Length > 0) Reply(option, RepErrInvalid, "the option takes no data");
                else
                {
                    _structured = true;
                    Reply(option, RepAck);
                }
                return true;
            case OptListMetaContext or OptSetMetaContext:
                MetaContext(option, data);
                return true;
            default:
                Reply(option, RepErrUnsupported, "unknown option");
                return true;
        }
    }

    /// <summary>False: the option has no answer but the end of the connection.</summary>
    private bool TurnedAway(uint option, uint kind, string why)
    {
        if (option == OptExportName) return false;
        Reply(option, kind, why);
        return true;
    }

    private NbdSession? ByName(byte[] data)
    {
        if (data.Length > NameBytesMax || !TryOpen(Encoding.UTF8.GetString(data), out var export)) return null;
        var reply = new byte[_noZeroes ? 10 : 134];
        BinaryPrimitives.WriteInt64BigEndian(reply, export.Device.SizeBytes);
        BinaryPrimitives.WriteUInt16BigEndian(reply.AsSpan(8), FlagsOf(export));
        wire.Send(reply);
        return SessionOf(export);
    }

    private void List(byte[] data)
    {
        if (data.Length > 0)
        {
            Reply(OptList, RepErrInvalid, "the option takes no data");
            return;
        }
        foreach (var name in exports.Names)
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            var entry = new byte[4 + bytes.Length];
            BinaryPrimitives.WriteInt32BigEndian(entry, bytes.Length);
            bytes.CopyTo(entry, 4);
            Reply(OptList, RepServer, entry);
        }
        Reply(OptList, RepAck);
    }

    private void StartTls(byte[] data)
    {
        if (data.Length > 0 || wire.Encrypted) Reply(OptStartTls, RepErrInvalid, "TLS is on already, or the option has data");
        else if (options.Tls is null) Reply(OptStartTls, RepErrPolicy, "this server has no TLS");
        else
        {
            if (wire.Buffered > 0) throw new InvalidDataException("data in the clear after STARTTLS");
            Reply(OptStartTls, RepAck);
            wire.StartTls(options.Tls);
            _refusal = options.Refuses?.Invoke(wire.PeerCertificate);
            // Nothing that was agreed in the clear counts.
            (_structured, _contextExport) = (false, null);
        }
    }

    private NbdSession? Info(uint option, byte[] data)
    {
        var at = 0;
        if (!TryText(data, ref at, out var name) || data.Length - at < 2 || data.Length - at - 2 != 2 * BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(at)))
        {
            Reply(option, RepErrInvalid, "malformed option");
            return null;
        }
        if (!TryOpen(name, out var export))
        {
            Reply(option, RepErrUnknown, "no such export");
            return null;
        }
        for (at += 2; at < data.Length; at += 2)
            SendInfo(option, BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(at)), export);
        var info = new byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(info, InfoExport);
        BinaryPrimitives.WriteInt64BigEndian(info.AsSpan(2), export.Device.SizeBytes);
        BinaryPrimitives.WriteUInt16BigEndian(info.AsSpan(10), FlagsOf(export));
        Reply(option, RepInfo, info);
        if (_contextExport != name) _contextExport = null;
        Reply(option, RepAck);
        return option == OptGo ? SessionOf(export) : null;
    }

    private void SendInfo(uint option, ushort kind, NbdExport export)
    {
        if (kind is InfoName or InfoDescription)
        {
            var text = Encoding.UTF8.GetBytes(kind == InfoName ? export.Name : export.Description);
            var info = new byte[2 + text.Length];
            BinaryPrimitives.WriteUInt16BigEndian(info, kind);
            text.CopyTo(info, 2);
            Reply(option, RepInfo, info);
        }
        else if (kind == InfoBlockSize)
        {
            var info = new byte[14];
            BinaryPrimitives.WriteUInt16BigEndian(info, kind);
            BinaryPrimitives.WriteInt32BigEndian(info.AsSpan(2), 1);
            BinaryPrimitives.WriteInt32BigEndian(info.AsSpan(6), 4096);
            BinaryPrimitives.WriteInt32BigEndian(info.AsSpan(10), options.MaxRequestBytes);
            Reply(option, RepInfo, info);
        }
    }

    private void MetaContext(uint option, byte[] data)
    {
        var at = 0;
        if ((option == OptSetMetaContext && !_structured) || !TryText(data, ref at, out var name) || data.Length - at < 4)
        {
            Reply(option, RepErrInvalid, "malformed option, or no structured replies");
            return;
        }
        var queries = BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));
        at += 4;
        var matched = queries == 0 && option == OptListMetaContext;
        for (var i = 0u; i < queries; i++)
        {
            if (!TryText(data, ref at, out var query))
            {
                Reply(option, RepErrInvalid, "malformed query");
                return;
            }
            matched |= query == BaseAllocation || (option == OptListMetaContext && query == "base:");
        }
        if (at != data.Length)
        {
            Reply(option, RepErrInvalid, "data behind the queries");
            return;
        }
        if (!TryOpen(name, out _))
        {
            Reply(option, RepErrUnknown, "no such export");
            return;
        }
        if (option == OptSetMetaContext) _contextExport = matched ? name : null;
        if (matched)
        {
            var context = new byte[4 + BaseAllocation.Length];
            BinaryPrimitives.WriteUInt32BigEndian(context, option == OptSetMetaContext ? BaseAllocationId : 0);
            Encoding.ASCII.GetBytes(BaseAllocation, context.AsSpan(4));
            Reply(option, RepMetaContext, context);
        }
        Reply(option, RepAck);
    }

    private bool TryOpen(string name, [NotNullWhen(true)] out NbdExport? export)
    {
        opening(name);
        return exports.TryOpen(name, out export);
    }

    private NbdSession SessionOf(NbdExport export) => new(export, _structured, _contextExport is not null);

    private ushort FlagsOf(NbdExport export) => (ushort)(CanFlags | CanFlush | CanFua | CanMultiConn
        | (export.Device.ReadOnly ? CanReadOnly : CanTrim | CanWriteZeroes) | (_structured ? CanDf : 0));

    private static bool TryText(byte[] data, ref int at, [NotNullWhen(true)] out string? text)
    {
        text = null;
        if (data.Length - at < 4) return false;
        var length = BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));
        at += 4;
        if (length > NameBytesMax || length > data.Length - at) return false;
        text = Encoding.UTF8.GetString(data, at, (int)length);
        at += (int)length;
        return true;
    }

    private void Reply(uint option, uint kind, string text) => Reply(option, kind, Encoding.UTF8.GetBytes(text));

    private void Reply(uint option, uint kind, byte[]? data = null)
    {
        var reply = new byte[OptionReplyBytes + (data?.Length ?? 0)];
        BinaryPrimitives.WriteUInt64BigEndian(reply, OptionReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(8), option);
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(12), kind);
        BinaryPrimitives.WriteInt32BigEndian(reply.AsSpan(16), data?.Length ?? 0);
        data?.CopyTo(reply, OptionReplyBytes);
        wire.Send(reply);
    }
}
