using System.Text.Json;
using Akka.Actor;
using Akka.Event;
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
        _kept = KeptIn(folder);
        Receive<Nodes>(nodes =>
        {
            var members = nodes.All.Select(n => n.Address).Order(StringComparer.Ordinal).ToArray();
            // Alone again is no news: the others are who to look for.
            if (members.Length < 2 || members.AsSpan().SequenceEqual(_kept)) return;
            try
            {
                folder.Files.Replace(folder.In(FileName), JsonSerializer.SerializeToUtf8Bytes(members));
                _kept = members;
            }
            // An actor that fails is made anew at once, is told the members at once, and fails again. The next change is the next try.
            catch (Exception unkept) when (unkept is IOException or UnauthorizedAccessException)
            {
                Context.GetLogger().Warning("the cluster's members cannot be kept for the next start: {0}", unkept.Message);
            }
        });
        site.Tell(new SubscribeNodes());
    }

    /// <summary>What cannot be read is written anew, as what is not there: an actor that fails as it begins is not made again, and nothing would be kept until the process ends.</summary>
    private static string[] KeptIn(DataFolder folder)
    {
        try
        {
            return [.. Read(folder)];
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>A damaged file is as good as none: the other seeds lead to the members, and it is written anew.</summary>
    public static IReadOnlyList<string> Read(DataFolder folder)
    {
        try
        {
            return folder.Files.TryReadAll(folder.In(FileName)) is { } bytes && JsonSerializer.Deserialize<string?[]>(bytes) is { } members ? [.. members.OfType<string>().Where(IsAddress)] : [];
        }
        catch (JsonException)
        {
            return [];
        }
    }

    /// <summary>Whether an actor system can look for another one there.</summary>
    public static bool IsAddress(string? text) => text is not null && text.All(c => c is > ' ' and < (char)127 and not ('"' or '\\')) && ActorPath.TryParseAddress(text, out var address) && address.ToString() == text && address is { Host.Length: > 0, Port: > 0 };
}

public static class SeedKeeping
{
    public static AkkaConfigurationBuilder WithSeedKeeper(this AkkaConfigurationBuilder builder, DataFolder folder) => builder.WithActors((system, registry) =>
        system.ActorOf(Props.Create(() => new SeedKeeper(folder, registry.Get<SiteActor>())), "seed-keeper"));
}
