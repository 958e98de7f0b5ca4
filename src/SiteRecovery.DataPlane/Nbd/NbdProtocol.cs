namespace SiteRecovery.DataPlane.Nbd;

/// <summary>Numbers of the NBD protocol (fixed newstyle, structured replies, base:allocation).</summary>
internal static class NbdProtocol
{
    internal const ulong ServerMagic = 0x4e42444d41474943, OptionMagic = 0x49484156454f5054, OptionReplyMagic = 0x0003e889045565a9;
    internal const uint RequestMagic = 0x25609513, SimpleReplyMagic = 0x67446698, StructuredReplyMagic = 0x668e33ef;
    internal const int OptionHeaderBytes = 16, OptionReplyBytes = 20, RequestBytes = 28, SimpleReplyBytes = 16, ChunkBytes = 20, ReplyHeaderBytesMax = 32;

    internal const ushort FixedNewstyle = 1, NoZeroes = 2;

    internal const uint OptExportName = 1, OptAbort = 2, OptList = 3, OptStartTls = 5, OptInfo = 6, OptGo = 7, OptStructuredReply = 8,
        OptListMetaContext = 9, OptSetMetaContext = 10;

    internal const uint RepAck = 1, RepServer = 2, RepInfo = 3, RepMetaContext = 4,
        RepErrUnsupported = 1u | Failed, RepErrPolicy = 2u | Failed, RepErrInvalid = 3u | Failed, RepErrTlsRequired = 5u | Failed,
        RepErrUnknown = 6u | Failed, RepErrTooBig = 9u | Failed;
    internal const uint Failed = 1u << 31;

    internal const ushort InfoExport = 0, InfoName = 1, InfoDescription = 2, InfoBlockSize = 3;

    internal const ushort CanFlags = 1, CanReadOnly = 2, CanFlush = 4, CanFua = 8, CanTrim = 32, CanWriteZeroes = 64, CanDf = 128, CanMultiConn = 256;

    internal const ushort CmdRead = 0, CmdWrite = 1, CmdDisconnect = 2, CmdFlush = 3, CmdTrim = 4, CmdWriteZeroes = 6, CmdBlockStatus = 7;
    internal const ushort FlagFua = 1, FlagNoHole = 2, FlagDf = 4, FlagReqOne = 8;

    internal const ushort ChunkDone = 1, ChunkNone = 0, ChunkOffsetData = 1, ChunkOffsetHole = 2, ChunkBlockStatus = 5, ChunkError = 32769, ChunkErrorOffset = 32770;
    internal const uint StateHole = 1, StateZero = 2;

    internal const int ErrPermission = 1, ErrIo = 5, ErrMemory = 12, ErrInvalid = 22, ErrNoSpace = 28, ErrNotSupported = 95, ErrShutdown = 108;

    internal const string BaseAllocation = "base:allocation";
    internal const uint BaseAllocationId = 1;
    internal const int NameBytesMax = 4096, OptionBytesMax = 8 << 10;
}
