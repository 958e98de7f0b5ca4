using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>A peer's server process, on a unix socket or ready once it has written the file of that name, with our certificates under the names that GnuTLS programs look for.</summary>
public sealed class PeerServer : IAsyncDisposable
{
    private readonly (string Program, string[] Arguments) _command;
    private Process _process;
    private string _said = "";

    private PeerServer((string, string[]) command, Process process, string socket, string certificates) =>
        (_command, _process, Socket, Certificates) = (command, process, socket, certificates);

    public string Socket { get; }
    public string Certificates { get; }
    public int Id => _process.Id;
    public double CpuSeconds => ProcessUsage.CpuSeconds(Id);

    public static async Task<PeerServer> StartAsync(Bench bench, string name, Func<string, string, (string Program, string[] Arguments)> command, CancellationToken stop)
    {
        var (socket, certificates) = (bench.At(name + ".sock"), Export(bench.Workspace));
        File.Delete(socket);
        var (program, arguments) = command(socket, certificates);
        var server = new PeerServer((program, arguments), Tool.Start(program, arguments), socket, certificates);
        await server.ListenAsync(stop);
        return server;
    }

    /// <summary>A peer that has ended by itself is started again; null where it has not, else what it said.</summary>
    public async Task<string?> ReviveAsync(CancellationToken stop)
    {
        if (!_process.HasExited) return null;
        var ended = $"{_process.StartInfo.FileName} ended by itself with {_process.ExitCode} ({_said.Trim()}) and was started again";
        _process.Dispose();
        File.Delete(Socket);
        (_process, _said) = (Tool.Start(_command.Program, _command.Arguments), "");
        await ListenAsync(stop);
        return ended;
    }

    private async Task ListenAsync(CancellationToken stop)
    {
        await Tool.ListeningAsync(_process, Socket, stop);
        _process.BeginOutputReadLine();
        _process.ErrorDataReceived += (_, line) => _said += line.Data + " ";
        _process.BeginErrorReadLine();
    }

    /// <exception cref="InvalidOperationException">It has ended by itself; the message holds what it said.</exception>
    public void ThrowIfGone()
    {
        if (_process.HasExited) throw new InvalidOperationException($"{_process.StartInfo.FileName} ended with {_process.ExitCode}: {_said}");
    }

    internal static string Export(Workspace workspace)
    {
        var folder = workspace.At("gnutls");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "ca-cert.pem"), workspace.Target.AuthorityCertificate.ExportCertificatePem());
        foreach (var (name, certificate) in new[] { ("server", workspace.Target.Certificate), ("client", workspace.Agent.Certificate) })
        {
            File.WriteAllText(Path.Combine(folder, name + "-cert.pem"), certificate.ExportCertificatePem());
            using var key = certificate.GetECDsaPrivateKey() ?? throw new CryptographicException("the certificate has no key");
            File.WriteAllText(Path.Combine(folder, name + "-key.pem"), key.ExportPkcs8PrivateKeyPem());
        }
        return folder;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
