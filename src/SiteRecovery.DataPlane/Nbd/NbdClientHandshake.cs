using System.Buffers.Binary;
using System.Net.Security;
using System.Text;
using static SiteRecovery.DataPlane.Nbd.NbdProtocol;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>The client's side of the handshake: TLS if wanted, structured replies and base:allocation if there, then GO.</summary>
internal sealed class NbdClientHandshake(Stream stream)
{
    private const int ReplyBytesMax = 64 << 10;

    internal Stream Stream { get; private set; } = stream;

    internal async Task<(long Size, ushort Flags, bool HasStatus)> RunAsync(string export, SslClientAuthenticationOptions? tls, CancellationToken stop)
    {
        var greeting = new byte[18];
        await Stream.ReadExactlyAsync(greeting, stop).ConfigureAwait(false);
        if (BinaryPrimitives.ReadUInt64BigEndian(greeting) != ServerMagic || BinaryPrimitives.ReadUInt64BigEndian(greeting.AsSpan(8)) != OptionMagic)
            throw new InvalidDataException("not an NBD server of the fixed newstyle");
        var flags = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(flags, BinaryPrimitives.ReadUInt16BigEndian(greeting.AsSpan(16)) & (uint)(FixedNewstyle | NoZeroes));
        await Stream.WriteAsync(flags, stop).ConfigureAwait(false);
        if (tls is not null) await StartTlsAsync(tls, stop).ConfigureAwait(false);
        var name = Encoding.UTF8.GetBytes(export);
        var hasStatus = false;
        if ((await AskAsync(OptStructuredReply, [], stop).ConfigureAwait(false)).Kind == RepAck)
        {
            var context = Encoding.ASCII.GetBytes(BaseAllocation);
            var query = new byte[4 + name.Length + 8 + context.Length];
            BinaryPrimitives.WriteInt32BigEndian(query, name.Length);
            name.CopyTo(query, 4);
            BinaryPrimitives.WriteInt32BigEndian(query.AsSpan(4 + name.Length), 1);
            BinaryPrimitives.WriteInt32BigEndian(query.AsSpan(8 + name.Length), context.Length);
            context.CopyTo(query, 12 + name.Length);
            hasStatus = await AskAsync(OptSetMetaContext, query, stop).ConfigureAwait(false) is { Kind: RepAck, Infos.Count: > 0 };
        }
        var go = new byte[6 + name.Length];
        BinaryPrimitives.WriteInt32BigEndian(go, name.Length);
        name.CopyTo(go, 4);
        var (kind, infos) = await AskAsync(OptGo, go, stop).ConfigureAwait(false);
        var info = infos.Find(i => i.Length == 12 && BinaryPrimitives.ReadUInt16BigEndian(i) == InfoExport);
        if (kind != RepAck || info is null)
            throw new NbdException($"the NBD server does not open '{export}' (reply {kind:x}{((kind & Failed) != 0 && infos is [.., { Length: > 0 } why] ? $": {Encoding.UTF8.GetString(why)}" : "")})", 0);
        return (BinaryPrimitives.ReadInt64BigEndian(info.AsSpan(2)), BinaryPrimitives.ReadUInt16BigEndian(info.AsSpan(10)), hasStatus);
    }

    private async Task StartTlsAsync(SslClientAuthenticationOptions tls, CancellationToken stop)
    {
        if ((await AskAsync(OptStartTls, [], stop).ConfigureAwait(false)).Kind != RepAck) throw new NbdException("the NBD server has no TLS", 0);
        var encrypted = new SslStream(Stream, leaveInnerStreamOpen: false);
        await encrypted.AuthenticateAsClientAsync(tls, stop).ConfigureAwait(false);
        Stream = encrypted;
    }

    /// <summary>Sends an option and collects the replies up to the one that ends it; where that is an error its text, which may be empty, is the last.</summary>
    private async Task<(uint Kind, List<byte[]> Infos)> AskAsync(uint option, byte[] data, CancellationToken stop)
    {
        var request = new byte[OptionHeaderBytes + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(request, OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(8), option);
        BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(12), data.Length);
        data.CopyTo(request, OptionHeaderBytes);
        await Stream.WriteAsync(request, stop).ConfigureAwait(false);
        var infos = new List<byte[]>();
        var header = new byte[OptionReplyBytes];
        while (true)
        {
            await Stream.ReadExactlyAsync(header, stop).ConfigureAwait(false);
            var length = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(16));
            if (BinaryPrimitives.ReadUInt64BigEndian(header) != OptionReplyMagic || length > ReplyBytesMax || infos.Count > 64)
                throw new InvalidDataException("not an NBD option reply");
            var reply = new byte[length];
            await Stream.ReadExactlyAsync(reply, stop).ConfigureAwait(false);
            var kind = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            if (kind == RepAck) return (kind, infos);
            infos.Add(reply);
            if ((kind & Failed) != 0) return (kind, infos);
        }
    }
}
