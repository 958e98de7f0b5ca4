using System.Diagnostics;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Node.Demo.Guest;

/// <summary>
/// A machine that QEMU runs on the protected disk and boots from it (<see cref="GuestProgram"/>): protected by its name, stopped by its power button, run again by whichever
/// site it is moved to.
/// </summary>
internal sealed class GuestLoad : IDemoLoad
{
    private const string Machine = DemoStory.Machine, PidFile = "qemu.pid";
    // Always emulated: it needs no speed, and a /dev/kvm that opens need not run a guest.
    private const string Accelerator = "tcg";
    private static readonly TimeSpan BootPatience = TimeSpan.FromSeconds(60);
    private readonly string _folder;
    private readonly TimeProvider _time;
    private readonly QemuHypervisor _host;
    private GuestConsole? _console;
    private GuestHistory _history = GuestHistory.Empty;
    private int _consoles;

    internal GuestLoad(string folder, TimeProvider time)
    {
        (_folder, _time) = (folder, time);
        _host = new QemuHypervisor(At("host"), new QemuOptions { Accelerators = Accelerator }, RealFileSystem.Instance, time);
    }

    /// <summary>What this host lacks for it, and how to get it; null: nothing.</summary>
    internal static string? Missing() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(p => File.Exists(Path.Combine(p, new QemuOptions().Program))) ? null
        : $"--vm needs {new QemuOptions().Program}, which is not in PATH: apt-get install qemu-system-x86 (Debian, Ubuntu), dnf install qemu-system-x86 (Fedora); or run the demo without --vm, which needs nothing";

    public string Name => "a QEMU guest that boots from it";
    public object Source => new { agent = DemoStory.AgentName, domain = Machine };
    public string NodeSettings => $$"""siterecovery.hypervisor { uri = "qemu", qemu-accelerators = "{{Accelerator}}" }""";
    public IReadOnlyList<string> AgentArguments => ["--hypervisor", At("host"), "--qemu-accelerators", Accelerator];
    public bool HasEnded => _console is { HasEnded: true };
    public long Acknowledged => _console?.Acknowledged ?? _history.Last;

    public async Task PrepareAsync(CancellationToken stop)
    {
        GuestRecord.WriteDisk(At("disk.raw"));
        await _host.DefineAsync(DefinitionOn(At("disk.raw")), stop);
    }

    /// <summary>As the machine's view asks its owner to: its disk is the one that is captured from here on.</summary>
    public async Task StartAsync(string diskUri, CancellationToken stop)
    {
        await File.WriteAllBytesAsync(At($"host/{Machine}.machine.json"), DefinitionOn(diskUri).ToJson(), stop);
        await _host.StartAsync(Machine, stop);
        _console = await OpenAsync(string.Join(", ", (await _host.ConsolesAsync(Machine, stop)).Select(c => $"{c.Kind} {c.Address}")), stop);
        await BegunAsync(_console, stop);
    }

    public async Task<PrefixVerdict> JudgeTestAsync(DemoPlace copy, CancellationToken stop)
    {
        await using var console = await OpenAsync(ConsolesOf(copy), stop);
        var (found, _) = await BegunAsync(console, stop);
        return SameAs(found, await JudgeAsync(await NowAsync(stop), copy, stop));
    }

    public void Die()
    {
        var pid = int.Parse(File.ReadAllText(At($"host/{Machine}/{PidFile}")), System.Globalization.CultureInfo.InvariantCulture);
        using var qemu = Process.GetProcessById(pid);
        qemu.Kill();
        qemu.WaitForExit();
    }

    public async Task<PrefixVerdict> JudgeReplicaAsync(DemoPlace replica, CancellationToken stop)
    {
        await _console!.EndAsync();
        _history = await NowAsync(stop);
        var next = await OpenAsync(ConsolesOf(replica), stop);
        var (found, _) = await BegunAsync(next, stop);
        var verdict = SameAs(found, await JudgeAsync(_history, replica, stop));
        await _console.DisposeAsync();
        _console = next;
        return verdict;
    }

    public async Task GoOnAsync(PrefixVerdict verdict, DemoPlace replica, CancellationToken stop) => _history = await NowAsync(stop);

    public async Task<string?> TryOldCopyAsync(CancellationToken stop)
    {
        try
        {
            await _host.StartAsync(Machine, stop);
            await using var console = await OpenAsync(string.Join(", ", (await _host.ConsolesAsync(Machine, stop)).Select(c => $"{c.Kind} {c.Address}")), stop);
            if (await Task.WhenAny(console.Refused, console.Begun).WaitAsync(BootPatience, _time, stop) != console.Refused) throw new InvalidOperationException("the old machine was started and WRITES");
            return "the old machine was started: its disk refuses its first write";
        }
        catch (HypervisorException refused)
        {
            return $"the old machine cannot be started: {refused.Message}";
        }
        finally
        {
            await _host.DestroyAsync(Machine, CancellationToken.None);
        }
    }

    /// <summary>The planned failover presses its power button.</summary>
    public Task StopAsync(CancellationToken stop) => Task.CompletedTask;

    public async Task<PrefixVerdict> JudgeHomeAsync(DemoPlace home, CancellationToken stop)
    {
        await _console!.EndAsync().WaitAsync(BootPatience, _time, stop);
        _history = await NowAsync(stop);
        var next = await OpenAsync(ConsolesOf(home), stop);
        var (found, _) = await BegunAsync(next, stop);
        var verdict = SameAs(found, await JudgeAsync(_history, home, stop));
        await _console.DisposeAsync();
        _console = next;
        return verdict;
    }

    /// <summary>No machine outlives the demo, wherever it runs.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var folder in Directory.GetFiles(_folder, PidFile, SearchOption.AllDirectories).Select(p => Path.GetDirectoryName(Path.GetDirectoryName(p))!).Distinct())
        {
            await using var there = new QemuHypervisor(folder, new QemuOptions { Accelerators = Accelerator }, RealFileSystem.Instance, _time);
            foreach (var machine in await there.ListAsync(CancellationToken.None)) await there.DestroyAsync(machine.Name, CancellationToken.None);
        }
        if (_console is not null) await _console.DisposeAsync();
        await _host.DisposeAsync();
    }

    /// <summary>The guest that came up counted for itself, and must have seen what we see.</summary>
    private static PrefixVerdict SameAs(long found, PrefixVerdict verdict) => !verdict.Holds || verdict.PrefixLength == found ? verdict
        : verdict with { Holds = false, Reason = $"the guest that came up there found {found} records, and {verdict.PrefixLength} can be read" };

    private async Task<PrefixVerdict> JudgeAsync(GuestHistory history, DemoPlace copy, CancellationToken stop)
    {
        var heard = _console!;
        await using var disk = await NbdAddress.Parse(copy.DiskUri).OpenAsync(stop);
        return await history.JudgeAsync((offset, into) => disk.ReadAsync(offset, into, stop), heard.HeardAt);
    }

    /// <summary>With what the life that goes on has had acknowledged by now.</summary>
    private async Task<GuestHistory> NowAsync(CancellationToken stop)
    {
        var (found, life) = await BegunAsync(_console!, stop);
        return (_history.Spans.Count > 0 && _history.Spans[^1].Life == life ? _history with { Spans = [.. _history.Spans.SkipLast(1)] } : _history).Then(found, life, _console!.Acknowledged);
    }

    private async Task<(long Found, uint Life)> BegunAsync(GuestConsole console, CancellationToken stop) => await console.Begun.WaitAsync(BootPatience, _time, stop);

    private Task<GuestConsole> OpenAsync(string consoles, CancellationToken stop) => GuestConsole.OpenAsync(consoles, At($"ledger-{++_consoles}.txt"), _time, stop);

    private static string ConsolesOf(DemoPlace place) => place.Consoles ?? throw new InvalidOperationException("no machine runs on the copy");

    private static MachineDefinition DefinitionOn(string disk) => new()
    {
        Name = Machine, MachineType = "pc", CpuCount = 1, MemoryBytes = 32L << 20, Disks = [new MachineDisk { Target = "vda", Bus = "virtio", Source = disk }],
    };

    private string At(string name) => Path.Combine(_folder, name);
}
