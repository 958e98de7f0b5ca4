using System.Runtime.Serialization;
using System.Text;
using Akka.Actor;
using Akka.Configuration;
using SiteRecovery.Actors.Serialization;
using SiteRecovery.Actors.Tests;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A line that is a manifest, and what is read by it.</summary>
internal abstract class SerializerTarget : FuzzTarget
{
    private readonly ActorSystem _system = ActorSystem.Create("fuzz", ConfigurationFactory.ParseString("akka { loglevel = OFF, stdout-loglevel = OFF }"));

    protected ExtendedActorSystem System => (ExtendedActorSystem)_system;
    protected abstract Akka.Serialization.SerializerWithStringManifest Serializer { get; }
    protected abstract IEnumerable<Type> Types { get; }

    internal override int InputBytesMax => 8 << 10;
    internal override bool Expects(Exception refusal) => refusal is SerializationException;

    internal override IEnumerable<byte[]> Seeds() => Types.Select(Examples.Of).Select(e => (byte[])[.. Encoding.UTF8.GetBytes(Serializer.Manifest(e)), (byte)'\n', .. Serializer.ToBinary(e)]);

    internal override void Run(byte[] input)
    {
        var end = input.AsSpan().IndexOf((byte)'\n');
        if (end < 0) return;
        Serializer.FromBinary(input[(end + 1)..], Encoding.UTF8.GetString(input.AsSpan(0, end)));
    }

    public override void Dispose()
    {
        base.Dispose();
        _system.Terminate().GetAwaiter().GetResult();
    }
}

/// <summary>The journal's events.</summary>
internal sealed class EventsTarget : SerializerTarget
{
    public EventsTarget() => Serializer = new EventSerializer(System);

    internal override string Name => "events";
    internal override bool IsText => true;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("machine", "value", "epoch", "point", "disks", "policy", "definition"), .. EventSerializer.Types.Keys.Select(k => Encoding.UTF8.GetBytes(k + "\n"))];
    protected override Akka.Serialization.SerializerWithStringManifest Serializer { get; }
    protected override IEnumerable<Type> Types => EventSerializer.Types.Values;
}

/// <summary>Messages of another node, which has shown its certificate.</summary>
internal sealed class MessagesTarget : SerializerTarget
{
    /// <summary>Hyperion makes room for as much as a length announces, before it has come. That much is not to be had here, so that it fails at once.</summary>
    private const ulong HeapBytesMax = 512 << 20;

    public MessagesTarget()
    {
        AppContext.SetData("GCHeapHardLimit", HeapBytesMax);
        GC.RefreshMemoryLimit();
        Serializer = new MessageSerializer(System);
    }

    /// <summary>Whatever Hyperion throws: it becomes one dropped message. That no other type comes of it is what counts.</summary>
    internal override bool Expects(Exception refusal) => true;
    internal override long AllocatedMax(int inputBytes) => long.MaxValue;

    internal override string Name => "messages";
    internal override IReadOnlyList<byte[]> Words { get; } = [.. MessageTypes.Messages.Keys.Order(StringComparer.Ordinal).Select(k => Encoding.UTF8.GetBytes(k + "\n")), [0xFF, 0xFF, 0xFF, 0x7F], [0xFF], [0xFE], [0xFD]];
    protected override Akka.Serialization.SerializerWithStringManifest Serializer { get; }
    protected override IEnumerable<Type> Types => MessageTypes.Messages.Values.OrderBy(t => t.FullName, StringComparer.Ordinal);
}
