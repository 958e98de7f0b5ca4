using System.Text.Json;
using Akka.Actor;
using Akka.Hosting;
using SiteRecovery.Actors.Sites;

namespace SiteRecovery.Node.Hosting;

/// <summary>Remembers the cluster's members on disk, so that a node that was down finds the cluster that went on without it.</summary>
public sealed class SeedKeeper : ReceiveActor
{
    private const string FileName = "members.json";
    private string[] _kept;

    public SeedKeeper(DataFolder folder, IActorRef site)
    {
        _kept = [.. Read(folder)];
        Receive<Nodes>(nodes =>
        {
            var members = nodes.All.Select(n => n.Address).Order(StringComparer.Ordinal).ToArray();
            // Alone again is no news: the others are who to look for.
            if (members.Length < 2 || members.AsSpan().SequenceEqual(_kept)) return;
            folder.Files.Replace(folder.In(FileName), JsonSerializer.SerializeToUtf8Bytes(_kept = members));
        });
        site.Tell(new SubscribeNodes());
    }

    public static IReadOnlyList<string> Read(DataFolder folder) =>
        folder.Files.TryReadAll(folder.In(FileName)) is { } bytes ? JsonSerializer.Deserialize<string[]>(bytes) ?? [] : [];
}

public static class SeedKeeping
{
    public static AkkaConfigurationBuilder WithSeedKeeper(this AkkaConfigurationBuilder builder, DataFolder folder) => builder.WithActors((system, registry) =>
        system.ActorOf(Props.Create(() => new SeedKeeper(folder, registry.Get<SiteActor>())), "seed-keeper"));
}
