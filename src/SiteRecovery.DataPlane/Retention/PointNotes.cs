using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>What an operator or a verification has said of a point.</summary>
/// <param name="Point">Its id.</param>
/// <param name="Protected">It is kept beyond the retention, and with it all that follows it.</param>
/// <param name="VerifiedAt">When all of its bytes were last read and checked; null: never.</param>
/// <param name="Damage">What that found; null: nothing, or it was never done.</param>
/// <param name="Root">The root hash of all its disks; null: not known yet.</param>
public sealed record PointNote(string Point, bool Protected = false, DateTimeOffset? VerifiedAt = null, string? Damage = null, string? Root = null);

/// <summary>NOTES.json of a store: STORE.md. Not safe for concurrent calls.</summary>
internal sealed class PointNotes(string folder, IFileSystem files)
{
    internal const string FileName = "NOTES.json";
    private Dictionary<string, PointNote>? _notes = Read(files.TryReadAll(Path.Combine(folder, FileName)));

    internal IEnumerable<PointNote> All => _notes is null ? [] : _notes.Values;
    /// <summary>Nobody knows what was protected: until the next note is made, nothing may go.</summary>
    internal bool IsDamaged => _notes is null;

    internal PointNote Of(string point) => _notes?.GetValueOrDefault(point) ?? new PointNote(point);

    /// <summary>What was found of a point is found no more; what an operator wants of it stays. Durable when it returns.</summary>
    internal void ForgetState(string point, Func<string, bool> exists)
    {
        var (note, left) = (Of(point), new PointNote(point, Of(point).Protected));
        if (note != left) Set(left, exists);
    }

    /// <summary>Durable when it returns. Notes of points that are gone go with it.</summary>
    internal void Set(PointNote note, Func<string, bool> exists) => Set([note], exists);

    /// <summary>The same, of several points at once.</summary>
    internal void Set(IReadOnlyCollection<PointNote> notes, Func<string, bool> exists)
    {
        var named = notes.Select(n => n.Point).ToHashSet();
        var changed = All.Where(n => !named.Contains(n.Point) && exists(n.Point)).Concat(notes).ToDictionary(n => n.Point);
        files.Replace(Path.Combine(folder, FileName), SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(new PointNotesFile([.. changed.Values]), PointNotesJson.Default.PointNotesFile)));
        _notes = changed;
    }

    /// <summary>Null where the bytes are damaged.</summary>
    internal static Dictionary<string, PointNote>? Read(byte[]? bytes)
    {
        if (bytes is null) return [];
        try
        {
            // A file of before there were checksums is an array.
            var notes = bytes is [(byte)'[', ..] ? JsonSerializer.Deserialize(bytes, PointNotesJson.Default.PointNoteArray)
                : JsonSerializer.Deserialize(SealedJson.Open(bytes), PointNotesJson.Default.PointNotesFile)?.Notes;
            return notes is null || Array.Exists(notes, note => note is null) ? null : notes.ToDictionary(n => n.Point);
        }
        catch (Exception damage) when (damage is JsonException or ArgumentException or InvalidDataException)
        {
            return null;
        }
    }
}

internal sealed record PointNotesFile(PointNote[] Notes);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(PointNote[]))]
[JsonSerializable(typeof(PointNotesFile))]
internal sealed partial class PointNotesJson : JsonSerializerContext;
