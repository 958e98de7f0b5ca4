using System.Diagnostics;
using System.Globalization;
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

    private async Task<BootDisk> RunningAsync()
    {
        var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        return disk;
    }

    private int QemuPid() => int.Parse(File.ReadAllText(Path.Combine(Machines, ReplicaName, "qemu.pid")), CultureInfo.InvariantCulture);
}
