using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Configuration;
using Akka.Serialization;

namespace SiteRecovery.Actors.Serialization;

/// <summary>
/// Stands where Akka has its own JSON for whatever has no serializer: that one makes an object of any type that the bytes name. It is found by its
/// number alone, which another node or a row of the journal gives, so that having no message of ours bound to it would not keep it from being used.
/// </summary>
/// <remarks>With a manifest, so that Akka does not look for a type of that name first.</remarks>
public sealed class RefusedSerializer : SerializerWithStringManifest
{
    /// <param name="settings">Of the serializer that it replaces: Akka gives them to whatever has its name.</param>
    public RefusedSerializer(ExtendedActorSystem system, Config settings) : base(system) => _ = settings;

    public override int Identifier => 1;

    public override string Manifest(object o) => "";

    public override byte[] ToBinary(object obj) =>
        throw new SerializationException($"{obj.GetType()} has no serializer: an event has to be in {nameof(EventSerializer)}, a message between nodes one of {nameof(MessageTypes)}.");

    public override object FromBinary(byte[] bytes, string manifest) =>
        throw new SerializationException("bytes for Akka's own JSON serializer, which no node of SiteRecovery writes: they are refused, whatever they hold");
}
