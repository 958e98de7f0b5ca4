using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using Akka.TestKit.Xunit2;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Domain.ProtectedMachines;
using Xunit;

namespace SiteRecovery.Actors.Tests.Serialization;

public sealed class SerializerTests() : TestKit(TestSettings.Config)
{
    [Fact]
    public void Every_event_has_a_manifest_and_comes_back_as_it_went()
    {
        var events = new[] { typeof(MachineEvent), typeof(ConfigurationEvent) }
            .SelectMany(root => root.Assembly.GetTypes().Where(t => !t.IsAbstract && root.IsAssignableFrom(t))).ToArray();
        Assert.NotEmpty(events);
        Assert.All(events, type => RoundTrip<EventSerializer>(Examples.Of(type)));
    }

    [Fact]
    public void Every_message_comes_back_as_it_went()
    {
        Assert.NotEmpty(MessageTypes.Messages);
        Assert.All(MessageTypes.Messages.Values, type => RoundTrip<MessageSerializer>(Examples.Of(type)));
    }

    [Fact]
    public void An_unknown_manifest_is_refused()
    {
        var serializer = new EventSerializer((ExtendedActorSystem)Sys);
        Assert.Throws<SerializationException>(() => serializer.FromBinary([], "machine.unheard-of.v9"));
    }

    [Fact]
    public void A_type_that_is_no_message_is_refused() =>
        Assert.Throws<SerializationException>(() => new MessageSerializer((ExtendedActorSystem)Sys).Manifest(new Uri("http://localhost")));

    /// <summary>What Akka makes of such bytes by itself is an object of the type that they name.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("System.Object")]
    public void Nothing_is_made_of_JSON_that_names_a_type(string manifest)
    {
        var bytes = """{"$type":"System.Diagnostics.Process, System.Diagnostics.Process"}"""u8.ToArray();
        Assert.Throws<SerializationException>(() => Sys.Serialization.Deserialize(bytes, 1, manifest));
        Assert.Throws<SerializationException>(() => Sys.Serialization.Deserialize(bytes, 1, typeof(object)));
    }

    [Fact]
    public void What_has_no_serializer_is_not_sent()
    {
        var serializer = Sys.Serialization.FindSerializerFor(new Uri("http://localhost"));
        Assert.Throws<SerializationException>(() => serializer.ToBinary(new Uri("http://localhost")));
    }

    /// <summary>What Akka's sharding keeps in the journal must not be among what is refused: a newer Akka says so here.</summary>
    [Fact]
    public void What_sharding_keeps_has_a_serializer_of_its_own()
    {
        var sharding = typeof(Akka.Cluster.Sharding.ShardRegion).Assembly;
        var own = sharding.GetType("Akka.Cluster.Sharding.IClusterShardingSerializable", throwOnError: true)!;
        var kept = sharding.GetTypes().Where(t => t is { IsClass: true, IsAbstract: false } && t.DeclaringType is { Name: "EventSourcedRememberEntitiesShardStore" or "EventSourcedRememberEntitiesCoordinatorStore" or "ShardCoordinator" }
            && (t.Name is "State" or "CoordinatorState" or "MigrationMarker" || t.Name.StartsWith("Entities", StringComparison.Ordinal) || t.Name.StartsWith("Shard", StringComparison.Ordinal))).ToArray();
        Assert.True(kept.Length >= 4, string.Join(", ", kept.Select(t => t.FullName)));
        Assert.All(kept, type => Assert.True(own.IsAssignableFrom(type), type.FullName));
    }

    private void RoundTrip<TSerializer>(object example) where TSerializer : SerializerWithStringManifest
    {
        var serializer = Assert.IsType<TSerializer>(Sys.Serialization.FindSerializerFor(example));
        var back = serializer.FromBinary(serializer.ToBinary(example), serializer.Manifest(example));
        Assert.Equal(Examples.Print(example), Examples.Print(back));
    }
}
