using System.Diagnostics;
using System.Globalization;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>
/// A real libvirtd of the tests' own. As root it is a system daemon in a mount namespace where its folders are ours; otherwise it is a session daemon
/// with its folders given by the environment. A libvirt of the host's is neither used nor touched.
/// </summary>
public sealed class LibvirtDaemon : IAsyncLifetime
{
    private const string Program = "/usr/sbin/libvirtd";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly bool IsSystem = Environment.IsPrivilegedProcess;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-lv-").FullName;
    private Process? _daemon;

    internal string Uri => $"qemu+unix:///{(IsSystem ? "system" : "session")}?socket={Socket}";
    private string Socket => Path.Combine(Run, "libvirt-sock");
    private string Run => Path.Combine(_folder, "run", "libvirt");

    public async Task InitializeAsync()
    {
        if (!File.Exists(Program)) throw new InvalidOperationException($"{Program} is missing: install the packages libvirt-daemon and libvirt-clients");
        foreach (var name in (string[])["run", "etc", "lib", "cache", "log"]) Directory.CreateDirectory(Path.Combine(_folder, name, "libvirt"));
        await ConfigureAsync();
        var start = IsSystem ? new ProcessStartInfo("unshare", ["--mount", "--propagation", "private", "sh", "-c", InNamespace, _folder]) : new ProcessStartInfo(Program);
        foreach (var (key, name) in ((string, string)[])[("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "etc"), ("XDG_DATA_HOME", "lib"), ("XDG_CACHE_HOME", "cache")])
            start.Environment[key] = Path.Combine(_folder, name);
        start.RedirectStandardError = start.RedirectStandardOutput = true;
        _daemon = Process.Start(start)!;
        var said = _daemon.StandardError.ReadToEndAsync();
        _ = _daemon.StandardOutput.ReadToEndAsync();
        using var limit = new CancellationTokenSource(Patience);
        while (!await AnswersAsync())
        {
            if (_daemon.HasExited) throw new InvalidOperationException($"libvirtd ended with {_daemon.ExitCode}: {await said}");
            await Task.Delay(50, limit.Token);
        }
    }

    public async Task DisposeAsync()
    {
        if (_daemon is not null)
        {
            if (!_daemon.HasExited) await HostProgram.RunAsync("kill", ["-TERM", _daemon.Id.ToString(CultureInfo.InvariantCulture)]);
            await _daemon.WaitForExitAsync();
            _daemon.Dispose();
        }
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>What libvirt's own program says.</summary>
    internal Task<string> VirshAsync(params string[] arguments) => HostProgram.RunAsync("virsh", ["-c", Uri, .. arguments]);

    /// <summary>A path inside the daemon's namespace, as the host sees it.</summary>
    internal string ToHost(string path) => !IsSystem ? path
        : path.Replace("/var/lib/libvirt/", Path.Combine(_folder, "lib", "libvirt") + "/", StringComparison.Ordinal).Replace("/run/libvirt/", Run + "/", StringComparison.Ordinal);

    /// <summary>All that the daemon keeps of its machines.</summary>
    internal string Files() => string.Join('\n', ((string[])["etc", "lib", "run"]).SelectMany(n => Directory.EnumerateFiles(Path.Combine(_folder, n), "*", SearchOption.AllDirectories))
        .Order(StringComparer.Ordinal));

    /// <summary>$0 is our folder. The packaged daemon insists on a user that only its bigger package makes.</summary>
    private const string InNamespace = """
        set -e
        for pair in run:/run etc:/etc lib:/var/lib cache:/var/cache log:/var/log; do
          mkdir -p "${pair#*:}/libvirt"
          mount --bind "$0/${pair%%:*}/libvirt" "${pair#*:}/libvirt"
        done
        if ! grep -q ^libvirt-qemu: /etc/passwd; then
          (cat /etc/passwd; echo libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin) > "$0/passwd"
          (cat /etc/group; echo libvirt-qemu:x:64055:) > "$0/group"
          mount --bind "$0/passwd" /etc/passwd
          mount --bind "$0/group" /etc/group
        fi
        exec /usr/sbin/libvirtd --pid-file "$0/libvirtd.pid"
        """;

    /// <summary>No confinement, no cgroups and no log daemon: what a container does not have, or what a test has no use for.</summary>
    private async Task ConfigureAsync()
    {
        var folder = Path.Combine(_folder, "etc", "libvirt");
        await File.WriteAllTextAsync(Path.Combine(folder, "libvirtd.conf"), "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_rw_perms = \"0700\"\n");
        var account = IsSystem ? "user = \"root\"\ngroup = \"root\"\n" : "";
        await File.WriteAllTextAsync(Path.Combine(folder, "qemu.conf"), $"{account}security_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\nstdio_handler = \"file\"\n");
    }

    private async Task<bool> AnswersAsync()
    {
        try
        {
            await VirshAsync("version");
            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }
}
