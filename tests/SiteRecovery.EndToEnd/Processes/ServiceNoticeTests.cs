using System.Net.Sockets;
using System.Text;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>What the agent's unit has it tell systemd: machines that libvirt starts at boot are started behind it.</summary>
public sealed class ServiceNoticeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-note-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));
    private readonly Socket _manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);

    public ServiceNoticeTests()
    {
        _manager.Bind(new UnixDomainSocketEndPoint(At("notify")));
        File.WriteAllBytes(At("disk.raw"), new byte[1 << 20]);
        Directory.CreateDirectory(At("agent/machines/db1"));
        File.WriteAllBytes(At("agent/machines/db1/assignment.json"), AgentProtocol.Encode(new ProtectMachine { Id = "1", Machine = "db1", Epoch = 1, Disks = [new DiskAssignment(0, "vda", At("disk.raw"))] }));
    }

    private string At(string name) => Path.Combine(_folder, name);

    private ChildProcess Agent() => ChildProcess.StartUnder(["env", $"NOTIFY_SOCKET={At("notify")}"], "siterecovery-agent", At("agent.log"), "run", "--data", At("agent"));

    [Fact]
    public async Task It_is_ready_once_its_disks_can_be_opened()
    {
        using var agent = Agent();
        var said = new byte[64];
        Assert.Equal("READY=1", Encoding.UTF8.GetString(said, 0, await _manager.ReceiveAsync(said, _limit.Token)));
        await using var guest = await NbdClient.ConnectAsync(new UnixDomainSocketEndPoint(At("agent/nbd.sock")), "db1.vda", _limit.Token);
        await guest.ReadAsync(0, new byte[4096], _limit.Token);
    }

    [Fact]
    public async Task It_is_not_where_its_socket_is_anothers()
    {
        using var another = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        another.Bind(new UnixDomainSocketEndPoint(At("agent/nbd.sock")));
        another.Listen();
        using var agent = Agent();
        while (!agent.HasExited) await Task.Delay(20, _limit.Token);
        Assert.Equal((1, 0), (agent.ExitCode, _manager.Available));
    }

    public void Dispose()
    {
        _manager.Dispose();
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
