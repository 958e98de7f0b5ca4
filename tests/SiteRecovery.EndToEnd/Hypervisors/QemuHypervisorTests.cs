using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Hypervisors;

[Trait("Category", "Slow"), Collection("Guests")]
public sealed class QemuHypervisorTests : RunningGuestContract
{
    private string Machines => Path.Combine(Folder, "m");

    protected override IHypervisor Open() => Open(new QemuOptions());

    /// <summary>TCG always: /dev/kvm may open and still not run a stock guest.</summary>
    private QemuHypervisor Open(QemuOptions options) => new(Machines, options with { Accelerators = "tcg" }, RealFileSystem.Instance, TimeProvider.System);

    protected override Task<string> TracesAsync() => Task.FromResult(string.Join('\n', Directory.EnumerateFileSystemEntries(Machines, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)));

    protected override Task ForgetSourceAsync() => Task.CompletedTask;

    [Fact]
    public async Task A_killed_machine_is_stopped_and_starts_again()
    {
        await using var disk = await RunningAsync();
        using (var qemu = Process.GetProcessById(QemuPid()))
        {
            qemu.Kill();
            while ((await FoundAsync(ReplicaName)).State != MachineState.Stopped) await Task.Delay(20, Stop);
        }
        await StartAsync(disk);
        Assert.Equal(MachineState.Running, (await FoundAsync(ReplicaName)).State);
    }

    [Fact]
    public async Task A_machine_that_hangs_is_not_taken_for_stopped_and_its_plug_can_be_pulled()
    {
        await using var disk = await RunningAsync();
        await HostProgram.RunAsync("kill", ["-STOP", QemuPid().ToString(CultureInfo.InvariantCulture)]);
        Assert.Equal(MachineState.Unknown, (await FoundAsync(ReplicaName)).State);
        await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.StartAsync(ReplicaName, Stop));
        await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.UndefineAsync(ReplicaName, Stop));
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
        Assert.Equal(MachineState.Stopped, (await FoundAsync(ReplicaName)).State);
    }

    [Fact]
    public async Task A_pid_that_went_to_another_process_is_not_the_machine()
    {
        await using (await RunningAsync()) await Hypervisor.DestroyAsync(ReplicaName, Stop);
        using var another = Process.Start("sleep", "300");
        await File.WriteAllTextAsync(Path.Combine(Machines, ReplicaName, "qemu.pid"), another.Id.ToString(CultureInfo.InvariantCulture), Stop);
        Assert.Equal(MachineState.Stopped, (await FoundAsync(ReplicaName)).State);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
        Assert.False(another.HasExited);
        another.Kill();
    }

    [Fact]
    public async Task A_real_guest_boots_by_its_kernel_from_our_disk()
    {
        var image = await GuestImage.BuiltAsync();
        var path = Path.Combine(Folder, "ext4.raw");
        await GuestDisk.CreateAsync(path, 32 << 20);
        var machine = Source with
        {
            Name = ReplicaName, ReplicaOf = SourceName, MachineType = "pc", MemoryBytes = 160L << 20, Nics = [],
            Disks = [Source.Disks[0] with { Source = path }],
            Kernel = new DirectKernel(image.Kernel, image.InitialRamDisk, "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog"),
        };
        await Hypervisor.DefineAsync(machine, Stop);
        await Hypervisor.StartAsync(ReplicaName, Stop);
        var serial = Assert.Single(await Hypervisor.ConsolesAsync(ReplicaName, Stop), c => c.Kind == "serial");
        await ConsoleProbe.SaidAsync(serial.Address, "ACK ", Stop);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
    }

    /// <summary>Where /dev/kvm is, root can open it: a first choice that no host has falls back in the same way.</summary>
    [Fact]
    public async Task What_QEMU_says_of_a_machine_that_it_starts_all_the_same_is_told()
    {
        var said = new List<string>();
        await using var host = new QemuHypervisor(Machines, new QemuOptions { Accelerators = "xen:tcg", Says = said.Add }, RealFileSystem.Instance, TimeProvider.System);
        await using var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await host.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await host.StartAsync(ReplicaName, Stop);
        Assert.Contains("falling back to tcg", Assert.Single(said), StringComparison.Ordinal);
        Assert.Contains(ReplicaName, said[0], StringComparison.Ordinal);
        await host.DestroyAsync(ReplicaName, Stop);
    }

    [Fact]
    public async Task A_machine_that_a_full_disk_stopped_runs_on_once_there_is_room_and_one_that_somebody_paused_does_not()
    {
        await using var disk = await RunningAsync();
        await PauseAsync();
        Assert.False(await Hypervisor.ContinueAsync(ReplicaName, Stop));
        Assert.Equal(MachineState.Paused, (await FoundAsync(ReplicaName)).State);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);

        disk.IsFull = true;
        await Hypervisor.StartAsync(ReplicaName, Stop);
        while ((await FoundAsync(ReplicaName)).State != MachineState.Paused) await Task.Delay(20, Stop);
        var refusal = await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.ContinueAsync(ReplicaName, Stop));
        Assert.Contains("stops again", refusal.Message, StringComparison.Ordinal);
        disk.IsFull = false;
        Assert.True(await Hypervisor.ContinueAsync(ReplicaName, Stop));
        await disk.BootedAsync(Stop);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
    }

    [Fact]
    public async Task A_host_without_QEMU_says_what_to_install()
    {
        await using var bare = Open(new QemuOptions { Program = "qemu-system-of-nobody" });
        var refusal = await RefusedAsync(HypervisorProblem.Unavailable, () => bare.DefineAsync(Source with { Name = "sr-other" }, Stop));
        Assert.Contains("qemu-system-x86", refusal.Remedy, StringComparison.Ordinal);
        await using var noFirmware = Open(new QemuOptions { UefiLoader = "/nowhere/code.fd" });
        refusal = await RefusedAsync(HypervisorProblem.Unavailable, () => noFirmware.DefineAsync(Source with { Name = "sr-other", Firmware = new MachineFirmware(FirmwareKind.Uefi) }, Stop));
        Assert.Contains("ovmf", refusal.Remedy, StringComparison.Ordinal);
    }

    /// <summary>As a person does at the machine's monitor.</summary>
    private async Task PauseAsync()
    {
        using var monitor = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await monitor.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(Machines, ReplicaName, "qmp.sock")), Stop);
        await using var stream = new NetworkStream(monitor);
        using var answers = new StreamReader(stream);
        await answers.ReadLineAsync(Stop);
        foreach (var command in (string[])["qmp_capabilities", "stop"])
        {
            await stream.WriteAsync(Encoding.UTF8.GetBytes($"{{\"execute\":\"{command}\"}}\n"), Stop);
            while (await answers.ReadLineAsync(Stop) is { } line && !line.Contains("\"return\"", StringComparison.Ordinal)) { }
        }
    }

    private async Task<BootDisk> RunningAsync()
    {
        var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        return disk;
    }

    private int QemuPid() => int.Parse(File.ReadAllText(Path.Combine(Machines, ReplicaName, "qemu.pid")), CultureInfo.InvariantCulture);
}
