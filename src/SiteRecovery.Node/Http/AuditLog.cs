using System.Text.Json;

namespace SiteRecovery.Node.Http;

public sealed record AuditEntry(DateTimeOffset At, string Caller, string Method, string Path, int Status);

/// <summary>Who changed what through this node, one JSON line each in a file; the newest are kept in memory.</summary>
public sealed class AuditLog(string path, TimeProvider time)
{
    public const int EntriesMax = 10_000;
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private readonly Lock _gate = new();
    private readonly Queue<AuditEntry> _newest = Read(path);

    public void Add(Caller caller, string method, string requestPath, int status)
    {
        var entry = new AuditEntry(time.GetUtcNow(), caller.Name, method, requestPath, status);
        lock (_gate)
        {
            _newest.Enqueue(entry);
            if (_newest.Count > EntriesMax) _newest.Dequeue();
            using var file = DataPlane.Storage.RealFileSystem.Instance.Open(path, DataPlane.Storage.FileOpening.Create);
            file.Write(file.LengthBytes, [.. JsonSerializer.SerializeToUtf8Bytes(entry, Json), (byte)'\n']);
            file.Flush();
        }
    }

    public IReadOnlyList<AuditEntry> NewestFirst()
    {
        lock (_gate) return [.. _newest.Reverse()];
    }

    private static Queue<AuditEntry> Read(string path)
    {
        var kept = new Queue<AuditEntry>();
        if (!File.Exists(path)) return kept;
        foreach (var line in File.ReadLines(path))
        {
            if (TryParse(line) is not { } entry) continue; // a line torn by a crash
            kept.Enqueue(entry);
            if (kept.Count > EntriesMax) kept.Dequeue();
        }
        return kept;
    }

    private static AuditEntry? TryParse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<AuditEntry>(line, Json);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
