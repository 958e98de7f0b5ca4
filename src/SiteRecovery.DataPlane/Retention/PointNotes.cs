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
internal sealed class PointNotes
{
    internal const string FileName = "NOTES.json";
    private readonly string _folder;
    private readonly IFileSystem _files;
    private readonly HashSet<string> _forgotten = []; // while the file cannot be read
    private Dictionary<string, PointNote> _notes;

    /// <param name="givesUpUnreadable">A file that the disk does not give is as good as damaged.</param>
    internal PointNotes(string folder, IFileSystem files, bool givesUpUnreadable)
    {
        (_folder, _files) = (folder, files);
        var read = ReadFile(givesUpUnreadable);
        (_notes, IsDamaged) = (read ?? [], read is null);
    }

    internal IEnumerable<PointNote> All => _notes.Values;
    /// <summary>Nobody knows what was protected: until somebody says what is to be, nothing may go, and the file stays as it is.</summary>
    internal bool IsDamaged { get; private set; }
    /// <summary>What the file has is not what is known here.</summary>
    internal bool IsFileDamaged => ReadFile(givesUpUnreadable: true) is null;

    internal PointNote Of(string point) => _notes.GetValueOrDefault(point) ?? new PointNote(point);

    /// <summary>What was found of a point is found no more; what an operator wants of it stays. Durable when it returns.</summary>
    internal void ForgetState(string point, Func<string, bool> exists)
    {
        if (IsDamaged) _forgotten.Add(point);
        var (note, left) = (Of(point), new PointNote(point, Of(point).Protected));
        if (note != left) Set([left], exists);
    }

    /// <summary>Somebody wants a point to be kept, or no longer. Durable when it returns; from here on it is known what is protected.</summary>
    /// <exception cref="InvalidDataException">It is not known what is, so that nothing can be taken from it.</exception>
    internal PointNote Protect(string point, bool keep, Func<string, bool> exists)
    {
        ReadAgain();
        if (IsDamaged && !keep) throw new InvalidDataException("which points are protected is not known, so all are kept: protect one of them anew");
        var note = Of(point) with { Protected = keep };
        var changed = With([note], exists);
        Save(changed);
        (_notes, IsDamaged) = (changed, false);
        return note;
    }

    /// <summary>What could not be read may be readable by now.</summary>
    internal void ReadAgain()
    {
        if (!IsDamaged || ReadFile(givesUpUnreadable: true) is not { } read) return;
        foreach (var point in _forgotten.Where(read.ContainsKey)) read[point] = new PointNote(point, read[point].Protected);
        // What was found since is newer; what is to be kept is known there alone.
        foreach (var found in _notes.Values) read[found.Point] = found with { Protected = read.GetValueOrDefault(found.Point)?.Protected == true };
        Save(read);
        (_notes, IsDamaged) = (read, false);
        _forgotten.Clear();
    }

    /// <summary>What was found of points. Durable when it returns, but while it is not known what is protected: then it is remembered. Notes of points that are gone go with it, but
    /// for what was to be kept: a part of the history that is missing may come back.</summary>
    internal void Set(IReadOnlyCollection<PointNote> notes, Func<string, bool> exists)
    {
        var changed = With(notes, exists);
        if (!IsDamaged) Save(changed);
        _notes = changed;
    }

    /// <summary>Writes the file anew, as it is known here.</summary>
    internal void Mend() => Save(_notes);

    private Dictionary<string, PointNote> With(IReadOnlyCollection<PointNote> notes, Func<string, bool> exists)
    {
        var named = notes.Select(n => n.Point).ToHashSet();
        return All.Where(n => !named.Contains(n.Point) && (n.Protected || exists(n.Point))).Concat(notes).ToDictionary(n => n.Point);
    }

    private void Save(Dictionary<string, PointNote> notes) =>
        _files.Replace(Path.Combine(_folder, FileName), SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(new PointNotesFile([.. notes.Values]), PointNotesJson.Default.PointNotesFile)));

    private Dictionary<string, PointNote>? ReadFile(bool givesUpUnreadable)
    {
        try
        {
            return Read(_files.TryReadAll(Path.Combine(_folder, FileName)));
        }
        catch (IOException) when (givesUpUnreadable)
        {
            return null;
        }
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
