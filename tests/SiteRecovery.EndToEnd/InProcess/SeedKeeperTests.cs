using Akka.Actor;
using SiteRecovery.Actors.Sites;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>What a node finds its cluster by when it starts again.</summary>
public sealed class SeedKeeperTests : IAsyncLifetime
{
    private readonly string _root = Directory.CreateTempSubdirectory("sr-seeds-").FullName;
    private readonly ActorSystem _system = ActorSystem.Create("seeds", "akka.loglevel = OFF");

    /// <summary>An actor that fails as it begins is not made again: the node would know nobody at its next start.</summary>
    [Fact]
    public async Task Members_that_cannot_be_read_as_it_begins_are_kept_all_the_same()
    {
        using var folder = new DataFolder(_root);
        var file = folder.In("members.json");
        File.CreateSymbolicLink(file, "members.json"); // leads to itself: an error, and not absent
        using var site = Inbox.Create(_system);
        var keeper = _system.ActorOf(Props.Create(() => new SeedKeeper(folder, site.Receiver)));
        Assert.IsType<SubscribeNodes>(await site.ReceiveAsync(TimeSpan.FromSeconds(20)));
        keeper.Tell(new Nodes([Node("n1"), Node("n2")]));
        Assert.Equal(NodeAddresses, await ReadAsync());

        async Task<IReadOnlyList<string>> ReadAsync()
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            while (new FileInfo(file).LinkTarget is not null) await Task.Delay(20, limit.Token);
            return SeedKeeper.Read(folder);
        }
    }

    private static readonly string[] NodeAddresses = ["akka.tcp://seeds@n1:1", "akka.tcp://seeds@n2:1"];

    private static NodeAnnouncement Node(string name) => new(name, $"akka.tcp://seeds@{name}:1", new SiteName("lyon"), [], name, "", 1, 2, [], StoresHeld.None);

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _system.Terminate();
        Directory.Delete(_root, recursive: true);
    }
}
