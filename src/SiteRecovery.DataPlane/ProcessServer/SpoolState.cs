using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>What a machine's spool must know after a restart though its segments are gone: the epoch that counts, and what was durable.</summary>
internal sealed class SpoolState(IFileSystem files, string folder, MachineId machine, Guid bootId) : IDisposable
{
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
        lock (_gate) new DurableMark(bootId, Epoch, position, sequence).WriteTo(_mark ??= files.Open(MarkPath, FileOpening.Create), MarkMagic);
    }

    /// <param name="givesUp">What cannot be read is damaged.</param>
    /// <exception cref="IOException">A file cannot be read just now.</exception>
    public (StreamPosition Position, Sequence Sequence) Load(bool givesUp)
    {
        lock (_gate)
        {
            Epoch = _saved = new Epoch(TryLoadEpoch(givesUp));
            // After a restart of the host an old mark may have come back: it would look as if the target had lost what is missing in it.
            return DurableMark.TryParse(TryReadMark(givesUp), MarkMagic) is { } mark && mark.BootId == bootId && bootId != Guid.Empty && mark.Epoch == Epoch ? (mark.Position, mark.Sequence) : default;
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
