using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>What can only be seen where guests really run.</summary>
public abstract class RunningGuestContract : HypervisorContract
{
    [Fact]
    public async Task A_guest_that_does_not_hear_the_button_is_reported_and_runs_on()
    {
        await using var disk = BootDisk.Serve(Folder, "replica", hearsButton: false);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        Assert.Equal(StopOutcome.StillRunning, await Hypervisor.ShutDownAsync(ReplicaName, TimeSpan.FromSeconds(1), Stop));
        Assert.Equal(MachineState.Running, (await FoundAsync(ReplicaName)).State);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
    }

    [Fact]
    public async Task A_replica_whose_export_is_gone_does_not_start_and_the_reason_is_told()
    {
        string uri;
        await using (var disk = BootDisk.Serve(Folder, "replica", hearsButton: true))
        {
            await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
            uri = disk.Uri;
        }
        var refusal = await RefusedAsync(HypervisorProblem.Refused, () => Hypervisor.StartAsync(ReplicaName, Stop));
        Assert.Contains(new Uri(uri).Query["?socket=".Length..], refusal.Message, StringComparison.Ordinal);
        Assert.Equal(MachineState.Stopped, (await FoundAsync(ReplicaName)).State);
    }

    [Fact]
    public async Task A_destroyed_replica_has_let_go_of_its_export()
    {
        await using var disk = BootDisk.Serve(Folder, "replica", hearsButton: true);
        await Hypervisor.DefineAsync(PlanOn(disk).Make(Source), Stop);
        await StartAsync(disk);
        Assert.True(disk.IsOpen);
        await Hypervisor.DestroyAsync(ReplicaName, Stop);
        while (disk.IsOpen) await Task.Delay(20, Stop);
    }

    [Theory]
    [InlineData("virtio", "vda")]
    [InlineData("scsi", "vda")]
    [InlineData("sata", "vda")]
    [InlineData("ide", "hda")]
    [InlineData("usb", "sda")]
    public async Task A_seed_is_read_beside_the_disks_on_whatever_bus_they_are_and_stays_when_the_replica_goes(string bus, string place)
    {
        var before = await TracesAsync();
        var seed = Path.Combine(Folder, "seed.iso");
        await File.WriteAllBytesAsync(seed, new byte[64 << 10]);
        await using (var disk = BootDisk.Serve(Folder, "replica", hearsButton: true))
        {
            var source = Source with { Disks = [Source.Disks[0] with { Target = place, Bus = bus }] };
            await Hypervisor.DefineAsync((PlanOn(disk) with { Disks = new Dictionary<string, string> { [place] = disk.Uri } }).Make(source) with { Seed = seed }, Stop);
            await StartAsync(disk);
            var definition = (await FoundAsync(ReplicaName)).Definition;
            Assert.Equal((seed, 1), (definition.Seed, definition.Disks.Count));
            await Hypervisor.DestroyAsync(ReplicaName, Stop);
            await Hypervisor.UndefineAsync(ReplicaName, Stop);
        }
        Assert.True(File.Exists(seed));
        Assert.Equal(before, await TracesAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_variables_of_a_UEFI_replica_are_its_own_and_go_with_it(bool secureBoot)
    {
        var before = await TracesAsync();
        await using (var disk = BootDisk.Serve(Folder, "replica", hearsButton: true))
        {
            var source = Source with { MachineType = "pc-q35-99.0", Firmware = new MachineFirmware(FirmwareKind.Uefi, secureBoot, "/elsewhere/code.fd", "/elsewhere/sr-source.fd") };
            await Hypervisor.DefineAsync(PlanOn(disk).Make(source), Stop);
            Assert.Equal((FirmwareKind.Uefi, secureBoot), ((await FoundAsync(ReplicaName)).Definition.Firmware.Kind, (await FoundAsync(ReplicaName)).Definition.Firmware.SecureBoot));
            await Hypervisor.StartAsync(ReplicaName, Stop);
            Assert.Equal(MachineState.Running, (await FoundAsync(ReplicaName)).State);
            await Hypervisor.DestroyAsync(ReplicaName, Stop);
            await Hypervisor.UndefineAsync(ReplicaName, Stop);
        }
        Assert.Equal(before, await TracesAsync());
    }
}
