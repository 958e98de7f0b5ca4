using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using Akka.Util;
using Hyperion;

namespace SiteRecovery.Actors.Serialization;

/// <summary>Messages between nodes; never persisted, since a type's name is in the bytes.</summary>
public sealed class MessageSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    private readonly Hyperion.Serializer _serializer = new(new SerializerOptions(
        true, false, [Surrogate.Create<ISurrogated, ISurrogate>(from => from.ToSurrogate(system), to => to.FromSurrogate(system))],
        null, [], true, null, true, new AllowListFilter()));

    public override int Identifier => 7302;

    public override string Manifest(object o) => o.GetType().FullName is { } name && MessageTypes.Messages.ContainsKey(name)
        ? name
        : throw new SerializationException($"{o.GetType()} is no message between nodes.");

    public override byte[] ToBinary(object obj)
    {
        using var stream = new MemoryStream();
        _serializer.Serialize(obj, stream);
        return stream.ToArray();
    }

    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (!MessageTypes.Messages.TryGetValue(manifest, out var type)) throw new SerializationException($"Unknown message manifest '{manifest}'.");
        using var stream = new MemoryStream(bytes, writable: false);
        var message = _serializer.Deserialize<object>(stream);
        return message.GetType() == type ? message : throw new SerializationException($"A {message.GetType()} came as '{manifest}'.");
    }
}
