using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Nbd;

/// <summary>A raw file in a folder of its own, served on a unix socket and a TCP port.</summary>
internal sealed class ServedDisk : IAsyncDisposable
{
    internal static readonly CancellationToken None = CancellationToken.None;
    private readonly string _folder = Directory.CreateTempSubdirectory("nbd-").FullName;
    private readonly IBlockDevice _device;

    internal ServedDisk(long size = 16 << 20, bool readOnly = false, NbdServerOptions? options = null, Func<IBlockDevice, IBlockDevice>? wrap = null)
    {
        var file = RealFileSystem.Instance.Open(DiskPath, FileOpening.Create);
        file.SetLength(size);
        _device = new FileDevice(file, readOnly);
        if (wrap is not null) _device = wrap(_device);
        Exports.Add(new NbdExport("disk", _device, "a test disk"));
        Server = new NbdServer(Exports, options ?? new NbdServerOptions(), TimeProvider.System);
        Unix = Server.Listen(new UnixDomainSocketEndPoint(SocketPath));
        Tcp = (IPEndPoint)Server.Listen(new IPEndPoint(IPAddress.Loopback, 0));
    }

    internal NbdExports Exports { get; } = new();
    internal NbdServer Server { get; }
    internal EndPoint Unix { get; }
    internal IPEndPoint Tcp { get; }
    internal string DiskPath => PathOf("disk.raw");
    internal string Uri => $"nbd+unix:///disk?socket={SocketPath}";
    private string SocketPath => PathOf("s");

    internal string PathOf(string name) => Path.Combine(_folder, name);

    internal Task<NbdClient> ConnectAsync() => NbdClient.ConnectAsync(Unix, "disk", None);

    /// <param name="to">Null: by TCP.</param>
    internal async Task<Socket> ConnectRawAsync(EndPoint? to = null)
    {
        to ??= Tcp;
        var socket = new Socket(to.AddressFamily, SocketType.Stream, to is UnixDomainSocketEndPoint ? ProtocolType.Unspecified : ProtocolType.Tcp);
        await socket.ConnectAsync(to);
        return socket;
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await _device.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Runs a real peer; returns what it wrote, fails where it fails.</summary>
    internal static async Task<string> RunAsync(string program, params string[] arguments)
    {
        var (code, output) = await TryRunAsync(program, arguments);
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)} ended with {code}: {output}");
        return output;
    }

    internal static async Task<(int Code, string Output)> TryRunAsync(string program, params string[] arguments)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false, WorkingDirectory = Path.GetTempPath() })!;
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(deadline.Token);
            var errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            return (process.ExitCode, await output + await errors);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }
}
