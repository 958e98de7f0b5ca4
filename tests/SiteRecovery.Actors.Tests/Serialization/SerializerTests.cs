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

    private void RoundTrip<TSerializer>(object example) where TSerializer : SerializerWithStringManifest
    {
        var serializer = Assert.IsType<TSerializer>(Sys.Serialization.FindSerializerFor(example));
        var back = serializer.FromBinary(serializer.ToBinary(example), serializer.Manifest(example));
        Assert.Equal(Examples.Print(example), Examples.Print(back));
    }
}
