using System.Net;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests.ProcessServers;

public sealed class UnsavedRouteTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-route").FullName;

    /// <summary>As a folder is refused to be opened as a file: it is no IOException.</summary>
    [Fact]
    public async Task A_route_that_may_not_be_saved_is_told_and_asked_for_again()
    {
        using var authority = Authority.LoadOrCreate(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        await using var room = new ProcessServerRoom(_folder, new IPEndPoint(IPAddress.Loopback, 0), 1 << 20, authority.IssueInto(Path.Combine(_folder, "node"), "n1", PeerRole.Node), RealFileSystem.Instance, TimeProvider.System);
        Directory.CreateDirectory(Path.Combine(_folder, "routes.json.tmp"));
        var work = new FenceSource(new MachineId("vm1"), new Epoch(2), new AgentName("a1"), new SiteName("lyon"));
        Assert.False((await room.RouteAsync(work, new MachineRoute("a1", ReplicationPolicy.Default.Compression, "127.0.0.1", 1)))!.Permanent);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
