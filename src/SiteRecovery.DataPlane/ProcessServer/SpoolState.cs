using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>What a machine's spool must know after a restart though its segments are gone: the epoch that counts, and what was durable.</summary>
internal sealed class SpoolState(IFileSystem files, string folder, MachineId machine, Guid bootId) : IDisposable
{
    private const int MarkBytes = 64;
    private const uint MarkMagic = 0x4D505253; // "SRPM"
    private readonly Lock _gate = new();
    private IBlockFile? _mark;
    private Epoch _saved;

    private string EpochPath => Path.Combine(folder, machine.Value + "~state.json");
    private string MarkPath => Path.Combine(folder, machine.Value + "~durable");

    /// <summary>The newest epoch heard of; 0: none.</summary>
    public Epoch Epoch { get; private set; }

    /// <summary>Durable before it returns; where it throws, nothing has changed.</summary>
    public void SaveEpoch(Epoch epoch)
    {
        lock (_gate)
        {
            if (epoch <= _saved) return;
            files.Replace(EpochPath, SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(new SpoolEpoch(epoch.Value), SpoolJson.Default.SpoolEpoch)));
            _saved = epoch;
            Learn(epoch);
        }
    }

    /// <summary>Counts in this process, saved or not.</summary>
    public void Learn(Epoch epoch)
    {
        lock (_gate)
            if (epoch > Epoch) Epoch = epoch;
    }

    /// <summary>To the page cache: a lower bound that survives kill -9.</summary>
    public void SaveDurable(StreamPosition position, Sequence sequence)
    {
        Span<byte> mark = stackalloc byte[MarkBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(mark, MarkMagic);
        BinaryPrimitives.WriteInt32LittleEndian(mark[4..], 1);
        bootId.TryWriteBytes(mark[8..]);
        BinaryPrimitives.WriteInt64LittleEndian(mark[24..], Epoch.Value);
        BinaryPrimitives.WriteInt64LittleEndian(mark[32..], position.Incarnation);
        BinaryPrimitives.WriteInt64LittleEndian(mark[40..], position.Ordinal);
        BinaryPrimitives.WriteInt64LittleEndian(mark[48..], sequence.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(mark[56..], XxHash3.HashToUInt64(mark[..56]));
        lock (_gate) (_mark ??= files.Open(MarkPath, FileOpening.Create)).Write(0, mark);
    }

    /// <param name="givesUp">What cannot be read is damaged.</param>
    /// <exception cref="IOException">A file cannot be read just now.</exception>
    public (StreamPosition Position, Sequence Sequence) Load(bool givesUp)
    {
        lock (_gate)
        {
            Epoch = _saved = new Epoch(TryLoadEpoch(givesUp));
            if (TryReadMark(givesUp) is not { Length: MarkBytes } bytes) return default;
            ReadOnlySpan<byte> mark = bytes;
            if (XxHash3.HashToUInt64(mark[..56]) != BinaryPrimitives.ReadUInt64LittleEndian(mark[56..]) || BinaryPrimitives.ReadUInt32LittleEndian(mark) != MarkMagic) return default;
            // After a restart of the host an old mark may have come back: it would look as if the target had lost what is missing in it.
            if (new Guid(mark[8..24]) != bootId || BinaryPrimitives.ReadInt64LittleEndian(mark[24..]) != Epoch.Value) return default;
            return (new StreamPosition(BinaryPrimitives.ReadInt64LittleEndian(mark[32..]), BinaryPrimitives.ReadInt64LittleEndian(mark[40..])),
                new Sequence(BinaryPrimitives.ReadInt64LittleEndian(mark[48..])));
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _mark?.Dispose();
            _mark = null;
        }
    }

    // A damaged file forgets the epoch; the next room still knows it and refuses what is stale.
    private int TryLoadEpoch(bool givesUp)
    {
        try
        {
            return files.TryReadAll(EpochPath) is { } bytes ? JsonSerializer.Deserialize(SealedJson.Open(bytes), SpoolJson.Default.SpoolEpoch)!.Epoch : 0;
        }
        catch (Exception damage) when (damage is JsonException or InvalidDataException || (givesUp && damage is IOException))
        {
            return 0;
        }
    }

    private byte[]? TryReadMark(bool givesUp)
    {
        try
        {
            return files.TryReadAll(MarkPath);
        }
        catch (IOException) when (givesUp)
        {
            files.Delete(MarkPath); // a part of a page that cannot be read cannot be written either
            return null;
        }
    }
}

internal sealed record SpoolEpoch(int Epoch);

[JsonSourceGenerationOptions(UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(SpoolEpoch))]
internal sealed partial class SpoolJson : JsonSerializerContext;
