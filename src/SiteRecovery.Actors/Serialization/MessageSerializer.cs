using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using Akka.Util;
using Hyperion;

namespace SiteRecovery.Actors.Serialization;

/// <summary>Messages between nodes; never persisted, since a type's name is in the bytes.</summary>
public sealed class MessageSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    // One for all actor systems of the process: it compiles code for each type that it meets, which takes far longer than a message.
    private static readonly Hyperion.Serializer Shared = new(new SerializerOptions(
        true, false, [Surrogate.Create<ISurrogated, ISurrogate>(from => from.ToSurrogate(_of), to => to.FromSurrogate(_of))],
        null, [], true, null, true, new AllowListFilter()));
    /// <summary>Whose message this thread is at: references to actors are that system's.</summary>
    [ThreadStatic] private static ExtendedActorSystem? _of;

    public override int Identifier => 7302;

    public override string Manifest(object o) => o.GetType().FullName is { } name && MessageTypes.Messages.ContainsKey(name)
        ? name
        : throw new SerializationException($"{o.GetType()} is no message between nodes.");

    public override byte[] ToBinary(object obj)
    {
        using var stream = new MemoryStream();
        var former = _of;
        _of = system;
        try
        {
            Shared.Serialize(obj, stream);
        }
        finally
        {
            _of = former;
        }
        return stream.ToArray();
    }

    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (!MessageTypes.Messages.TryGetValue(manifest, out var type)) throw new SerializationException($"Unknown message manifest '{manifest}'.");
        using var stream = new MemoryStream(bytes, writable: false);
        var former = _of;
        _of = system;
        try
        {
            var message = Shared.Deserialize<object>(stream);
            return message.GetType() == type ? message : throw new SerializationException($"A {message.GetType()} came as '{manifest}'.");
        }
        finally
        {
            _of = former;
        }
    }
}
