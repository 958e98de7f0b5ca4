using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class DiskDiscoveryTests : IDisposable
{
    private const string Socket = "/run/sr/nbd.sock";
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-discovery-").FullName;
    private readonly DiskDiscovery _discovery;

    public DiskDiscoveryTests()
    {
        File.WriteAllBytes(At("own.raw"), new byte[8192]);
        File.WriteAllBytes(At("empty.raw"), []);
        _discovery = new DiskDiscovery(Socket, path => path == At("taken.raw") ? "db7" : null, RealFileSystem.Instance);
    }

    [Fact]
    public void A_raw_file_can_be_captured_and_has_the_size_that_it_has_now() =>
        Assert.Equal(new HostDisk("vda", At("own.raw"), 8192), Judged(At("own.raw"), sizeBytes: 5));

    [Theory]
    [InlineData(null, "raw", "nothing is in it")]
    [InlineData("own.raw", "qcow2", "format is qcow2")]
    [InlineData("missing.raw", "raw", "does not exist")]
    [InlineData("empty.raw", "raw", "is empty")]
    [InlineData("taken.raw", "raw", "as a disk of db7")]
    [InlineData("rbd:pool/image", "raw", "no file or device of this host")]
    [InlineData("nbd+unix:///db7.vda?socket=/run/sr/nbd.sock", "raw", "an export of this agent already")]
    [InlineData("nbd+unix:///db7.vda?socket=/run/other.sock", "raw", "over the network")]
    [InlineData("nbd://storage.example/db7", "raw", "over the network")]
    public void What_cannot_be_captured_is_told_with_a_remedy(string? source, string format, string problem)
    {
        var judged = Judged(source is null || source.Contains(':', StringComparison.Ordinal) ? source : At(source), format);
        Assert.Contains(problem, judged.Problem, StringComparison.Ordinal);
        Assert.NotEmpty(judged.Remedy!);
    }

    [Fact]
    public void A_list_is_told_in_pages_that_a_message_carries_and_media_are_not_in_it()
    {
        HypervisorMachine[] all = [.. Enumerable.Range(0, 200).Select(i => new HypervisorMachine(Machines.Everything with { Name = $"db{i:000}" }, MachineState.Running)), WithDisks("huge", 2000)];
        List<HostMachine> told = [];
        for (var more = true; more;)
        {
            var page = HostMachinePage.Of(all, _discovery, told.Count, 1000);
            Assert.InRange(page.ToJson().Length, 1, HostMachine.BytesMax + 1000);
            Assert.NotEmpty(page.Machines);
            told.AddRange(page.Machines);
            more = page.More;
        }
        Assert.Equal(all.Select(m => m.Name), told.Select(m => m.Name));
        Assert.Equal(["vda", "sda"], told[0].Disks.Select(d => d.Target));
        Assert.Equal(("running", null), (told[0].State, told[0].Problem));
        Assert.Null(told[^1].Definition);
        Assert.Contains("bytes", told[^1].Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_crosses_the_control_channel_whole()
    {
        var page = HostMachinePage.Of([new HypervisorMachine(Machines.Everything, MachineState.Stopped)], _discovery, 0, 10);
        var read = Assert.IsType<MachineList>(AgentProtocol.Decode(AgentProtocol.Encode(new MachineList("ask|1", page))));
        Assert.Equal(Machines.Everything.ToJson(), read.Page!.Machines[0].Definition!.ToJson());
        Assert.Equal(page.ToJson(), HostMachinePage.FromJson(read.Page.ToJson()).ToJson());
    }

    private static HypervisorMachine WithDisks(string name, int count) => new(
        Machines.Everything with { Name = name, Disks = [.. Enumerable.Range(0, count).Select(i => new MachineDisk { Target = $"sd{i}", Bus = "scsi", Source = $"/dev/vg0/disk{i}" })] }, MachineState.Unknown);

    private HostDisk Judged(string? source, string format = "raw", long? sizeBytes = null) =>
        _discovery.Judge(new MachineDisk { Target = "vda", Bus = "virtio", Source = source, Format = format, SizeBytes = sizeBytes });

    private string At(string name) => Path.Combine(_folder, name);

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
