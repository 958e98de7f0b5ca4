using System.Net.Sockets;
using System.Text;
using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>All that QEMU's monitor says, whatever it is asked: a machine's state is read from it. What has no line's end goes on and on, as a line that never ends.</summary>
internal sealed class QmpTarget : FuzzTarget
{
    private const int EndlessBytes = 8 << 20, PieceBytes = 64 << 10;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly QemuProcess _process;

    public QmpTarget()
    {
        var files = QemuFiles.Of(_folder.FullName, "m");
        Directory.CreateDirectory(files.Folder);
        _listener.Bind(new UnixDomainSocketEndPoint(files.Monitor));
        _listener.Listen(4);
        var host = new MemoryFiles { [files.Pid] = "7"u8.ToArray(), ["/proc/7/cmdline"] = Encoding.UTF8.GetBytes($"qemu\0-pidfile\0{files.Pid}\0") };
        _process = new QemuProcess(files, new QemuOptions(), host, TimeProvider.System);
    }

    internal override string Name => "qmp";
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 4L << 20;
    internal override bool Expects(Exception refusal) => refusal is HypervisorException;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("return", "error", "status", "desc", "event", "QMP"), "\n"u8.ToArray(), "\r\n"u8.ToArray(), "\"running\""u8.ToArray()];

    internal override IEnumerable<byte[]> Seeds() => new[]
    {
        """
        {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 9}, "package": ""}, "capabilities": ["oob"]}}
        {"return": {}}
        {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}
        {"return": {"running": true, "status": "running"}}

        """,
        """
        {"QMP": {}}
        {"return": {}}
        {"error": {"class": "CommandNotFound", "desc": "The command query-status has not been found"}}

        """,
        "{\"QMP\": {\"version\": \"",
    }.Select(Encoding.UTF8.GetBytes);

    internal override void Run(byte[] input) => RunAsync(input).WaitAsync(Patience).GetAwaiter().GetResult();

    private async Task RunAsync(byte[] input)
    {
        var serving = ServeAsync(input);
        try
        {
            await _process.StateAsync(CancellationToken.None);
        }
        finally
        {
            await serving;
        }
    }

    private async Task ServeAsync(byte[] input)
    {
        using var socket = await _listener.AcceptAsync();
        try
        {
            await socket.SendAsync(input);
            if (input.Length > 0 && !input.Contains((byte)'\n'))
            {
                var piece = new byte[PieceBytes];
                for (var i = 0; i < piece.Length; i++) piece[i] = input[i % input.Length];
                for (var sent = 0; sent < EndlessBytes; sent += piece.Length) await socket.SendAsync(piece);
            }
            socket.Shutdown(SocketShutdown.Send);
            var heard = new byte[4096];
            while (await socket.ReceiveAsync(heard) > 0)
            {
                // What it asks does not matter.
            }
        }
        catch (SocketException)
        {
            // It has heard enough.
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _listener.Dispose();
        _folder.Delete(recursive: true);
    }
}
