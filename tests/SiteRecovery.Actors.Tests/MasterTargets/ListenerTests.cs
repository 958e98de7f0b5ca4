using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using Xunit;

namespace SiteRecovery.Actors.Tests.MasterTargets;

/// <summary>Who comes past a master target's door.</summary>
public sealed class ListenerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-door").FullName;
    private readonly CancellationTokenSource _patience = new(TimeSpan.FromSeconds(30));

    [Fact]
    public async Task A_node_is_heard_and_an_agent_is_turned_away_in_its_handshake()
    {
        using var authority = Authority.Create(Path.Combine(_folder, "pki"), "test", TimeProvider.System);
        using var own = authority.Issue("n1", PeerRole.Node);
        await using var room = new MasterTargetRoom(_folder, new IPEndPoint(IPAddress.Loopback, 0), own, RealFileSystem.Instance, TimeProvider.System);
        room.Start();
        using var node = authority.Issue("n2", PeerRole.Node);
        using var agent = authority.Issue("n2", PeerRole.Agent);
        Assert.True(await HearsAsync(room.Endpoint!.Port, node));
        Assert.False(await HearsAsync(room.Endpoint!.Port, agent));
    }

    /// <summary>Whether a data channel is answered: with TLS 1.3 the end that connects learns of a refusal only when it reads.</summary>
    private async Task<bool> HearsAsync(int port, PeerIdentity identity)
    {
        try
        {
            await using SslStream stream = await ChannelConnector.ConnectAsync("127.0.0.1", port, identity.ForClient(), _patience.Token);
            await stream.WriteAsync(Preamble.Of(ChannelKind.Data), _patience.Token);
            await stream.FlushAsync(_patience.Token);
            return await stream.ReadAsync(new byte[1], _patience.Token) > 0; // it pings
        }
        catch (Exception refused) when (refused is IOException or AuthenticationException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        _patience.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
