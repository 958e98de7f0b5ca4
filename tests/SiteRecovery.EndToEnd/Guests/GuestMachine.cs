using System.Diagnostics;
using System.Globalization;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>A record that the guest has on all its disks, and when the host heard of it: never before it was so.</summary>
internal sealed record Acknowledgement(long Number, DateTimeOffset HeardAt);

/// <summary>A real QEMU guest that runs guest.c on disks served over NBD; what it acknowledges is the ledger outside SiteRecovery.</summary>
internal sealed class GuestMachine : IAsyncDisposable
{
    internal const int MemoryMiB = 160;
    /// <summary>no_timer_check: on a busy host an emulated timer may miss the kernel's test of it, and the kernel panics.</summary>
    internal const string KernelLine = "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog guest.noise=on";
    private static readonly TimeSpan ReconnectDelay = TimeSpan.FromSeconds(30);
    private readonly Process _qemu;
    private readonly Task _reading;
    private readonly Lock _gate = new();
    private readonly List<Acknowledgement> _ledger = [];
    private readonly List<string> _console = [];
    private TaskCompletionSource _said = NewSignal();
    private long[]? _found;
    private string? _problem;

    private GuestMachine(Process qemu)
    {
        _qemu = qemu;
        _reading = ListenAsync();
    }

    internal int Id => _qemu.Id;
    internal IReadOnlyList<Acknowledgement> Ledger { get { lock (_gate) return [.. _ledger]; } }
    internal long Acknowledged { get { lock (_gate) return _ledger.Count == 0 ? 0 : _ledger[^1].Number; } }
    /// <summary>What went wrong inside the guest (an I/O error, a damaged record, a panic), or null.</summary>
    internal string? Problem { get { lock (_gate) return _problem; } }

    /// <param name="disks">NBD URIs, the first is /dev/vda.</param>
    internal static async Task<GuestMachine> StartAsync(params string[] disks)
    {
        var image = await GuestImage.BuiltAsync();
        // TCG always: /dev/kvm may open and still not run a stock guest, and this one boots in two seconds without it.
        List<string> arguments = ["-accel", "tcg,thread=multi", "-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-m", MemoryMiB.ToString(CultureInfo.InvariantCulture), "-kernel", image.Kernel, "-initrd", image.InitialRamDisk,
            "-append", KernelLine, "-serial", "stdio"];
        for (var i = 0; i < disks.Length; i++)
            arguments.AddRange(["-blockdev", $"driver=nbd,node-name=disk{i},reconnect-delay={ReconnectDelay.TotalSeconds},{NbdOptions(disks[i])}", "-device", $"virtio-blk-pci,drive=disk{i}"]);
        return new GuestMachine(Process.Start(new ProcessStartInfo("qemu-system-x86_64", arguments)
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        }) ?? throw new InvalidOperationException("QEMU did not start"));
    }

    /// <summary>How many records each disk held when the guest came up, each of them checked by the guest.</summary>
    internal async Task<IReadOnlyList<long>> ReadyAsync(CancellationToken stop)
    {
        await UntilAsync(() => _found is not null, stop);
        return _found!;
    }

    internal Task AcknowledgedAsync(long number, CancellationToken stop) => UntilAsync(() => _ledger.Count > 0 && _ledger[^1].Number >= number, stop);

    /// <summary>SIGKILL; afterwards the ledger is complete.</summary>
    internal async Task KillAsync()
    {
        if (!_qemu.HasExited) _qemu.Kill();
        await _qemu.WaitForExitAsync();
        await _reading;
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _qemu.Dispose();
    }

    private async Task UntilAsync(Func<bool> holds, CancellationToken stop)
    {
        while (true)
        {
            Task said;
            lock (_gate)
            {
                if (holds()) return;
                if (_problem is not null || _reading.IsCompleted) throw new InvalidOperationException($"the guest: {_problem ?? "it ended"}; it said last:\n{string.Join('\n', _console.TakeLast(20))}");
                said = _said.Task;
            }
            await said.WaitAsync(stop);
        }
    }

    private async Task ListenAsync()
    {
        var errors = _qemu.StandardError.ReadToEndAsync();
        while (await _qemu.StandardOutput.ReadLineAsync() is { } line) Hear(line.Trim());
        if (await errors is { Length: > 0 } said) Hear("qemu: " + said);
        lock (_gate) _said.TrySetResult();
    }

    private void Hear(string line)
    {
        var now = TimeProvider.System.GetUtcNow();
        lock (_gate)
        {
            if (line.StartsWith("ACK ", StringComparison.Ordinal)) _ledger.Add(new Acknowledgement(long.Parse(line[4..], CultureInfo.InvariantCulture), now));
            else _console.Add(line);
            if (line.StartsWith("READY ", StringComparison.Ordinal)) _found = [.. line[6..].Split(' ').Select(n => long.Parse(n, CultureInfo.InvariantCulture))];
            if (IsProblem(line)) _problem ??= line;
            _said.TrySetResult();
            _said = NewSignal();
        }
    }

    private static bool IsProblem(string line) =>
        line.StartsWith("BAD ", StringComparison.Ordinal) || line.StartsWith("FAILED ", StringComparison.Ordinal)
        || ((string[])["I/O error", "EXT4-fs error", "JBD2: Error", "Kernel panic", "blocked for more than"]).Any(w => line.Contains(w, StringComparison.OrdinalIgnoreCase));

    private static string NbdOptions(string text)
    {
        var uri = new Uri(text);
        var export = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/'));
        var server = uri.Scheme == "nbd+unix"
            ? $"server.type=unix,server.path={Uri.UnescapeDataString(uri.Query["?socket=".Length..])}"
            : string.Create(CultureInfo.InvariantCulture, $"server.type=inet,server.host={uri.Host},server.port={uri.Port}");
        return $"{server},export={export}";
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
