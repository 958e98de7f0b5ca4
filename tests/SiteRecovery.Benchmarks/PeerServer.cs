using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>A peer's server process, on a unix socket or ready once it has written the file of that name, with our certificates under the names that GnuTLS programs look for.</summary>
public sealed class PeerServer : IAsyncDisposable
{
    private readonly Process _process;
    private string _said = "";

    private PeerServer(Process process, string socket, string certificates) => (_process, Socket, Certificates) = (process, socket, certificates);

    public string Socket { get; }
    public string Certificates { get; }
    public int Id => _process.Id;
    public double CpuSeconds => ProcessUsage.CpuSeconds(Id);

    public static async Task<PeerServer> StartAsync(Bench bench, string name, Func<string, string, (string Program, string[] Arguments)> command, CancellationToken stop)
    {
        var (socket, certificates) = (bench.At(name + ".sock"), Export(bench.Workspace));
        File.Delete(socket);
        var (program, arguments) = command(socket, certificates);
        var process = Tool.Start(program, arguments);
        await Tool.ListeningAsync(process, socket, stop);
        process.BeginOutputReadLine();
        var server = new PeerServer(process, socket, certificates);
        process.ErrorDataReceived += (_, line) => server._said += line.Data + " ";
        process.BeginErrorReadLine();
        return server;
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
