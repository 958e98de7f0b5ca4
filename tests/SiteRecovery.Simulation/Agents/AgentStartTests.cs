using System.Net.Sockets;
using System.Text;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>Whatever cannot be read when an agent starts keeps no guest from a disk that can.</summary>
public sealed class AgentStartTests
{
    [Fact]
    public async Task A_list_of_released_disks_that_cannot_be_read_yet_is_looked_at_again_and_not_written_over()
    {
        var disk = new SimDisk();
        await using (var before = new AgentOnDisk(disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
        }
        disk.Open("/disks/b.img", DataPlane.Storage.FileOpening.Create).Dispose();
        disk.Replace("/agent/released.json", Encoding.UTF8.GetBytes("""[{ "ExportName": "db2.vda", "Path": "/disks/b.img" }]"""));
        disk.Faults = io => io.Kind == IoKind.Read && io.Path == "/agent/released.json" ? Fault.Error : Fault.None;
        await using var agent = new AgentOnDisk(disk);
        await agent.Machines.StartAsync();
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
        disk.Faults = null;
        await agent.UntilAsync(() => agent.Exports.Names.Contains("db2.vda"));
    }

    [Fact]
    public async Task A_home_that_cannot_be_read_keeps_no_disk_from_being_served()
    {
        var folder = Directory.CreateTempSubdirectory("sr-start-").FullName;
        var (image, machine) = (Path.Combine(folder, "a.img"), Directory.CreateDirectory(Path.Combine(folder, "machines", "db1")).FullName);
        await File.WriteAllBytesAsync(image, new byte[4096]);
        await File.WriteAllBytesAsync(Path.Combine(machine, "assignment.json"), AgentProtocol.Encode(AgentOnDisk.Protection(disk: image)));
        using (var authority = Authority.Create(Path.Combine(folder, "authority"), "test", TimeProvider.System)) authority.IssueInto(Path.Combine(folder, "pki"), "agent-1", PeerRole.Agent).Dispose();
        // More than can be read at once.
        await using (var home = File.Create(Path.Combine(folder, "agent.json"))) home.SetLength(3L << 30);
        await using (await AgentService.StartAsync(new AgentOptions(folder, null, null, "agent-1"), TimeProvider.System, CancellationToken.None))
        {
            await using var guest = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(folder, "nbd.sock")), AgentOnDisk.Export, CancellationToken.None);
            await guest.ReadAsync(0, new byte[4096], CancellationToken.None);
        }
        Directory.Delete(folder, recursive: true);
    }
}
