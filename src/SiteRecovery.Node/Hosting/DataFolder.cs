using System.Text;
using System.Text.Json;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>The ports in use, as endpoints.json tells them to scripts.</summary>
public sealed record NodeEndpoints(string HttpUrl, string Address, int Http, int Cluster, int Data, int Agent);

/// <summary>The node's data directory, held by one process at a time.</summary>
public sealed class DataFolder : IDisposable
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };
    private readonly FileStream _lock;

    public DataFolder(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        Files.CreateDirectory(Path);
        try
        {
            _lock = new FileStream(In("lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException)
        {
            throw new SettingsException($"{Path} is in use by another process. Stop it, or give this node a data directory of its own with --data.");
        }
        // Not the released disks: they are machines' of their owners.
        ClosedFolder.Close(Path, Console.Error.WriteLine, "pki", "process-server", "machines", "journal.db", "journal.db-wal", "journal.db-shm", "master-target/stores", "master-target/served");
    }

    public string Path { get; }
    public IFileSystem Files => RealFileSystem.Instance;

    public string In(params ReadOnlySpan<string> names) => System.IO.Path.Combine([Path, .. names]);

    /// <exception cref="SettingsException">The file is damaged: others know this node by ports that are not known here any more.</exception>
    public NodeEndpoints? ReadEndpoints()
    {
        if (Files.TryReadAll(In("endpoints.json")) is not { } bytes) return null;
        try
        {
            var endpoints = JsonSerializer.Deserialize<NodeEndpoints>(bytes, Json);
            return endpoints is null || new[] { endpoints.Http, endpoints.Cluster, endpoints.Data, endpoints.Agent }.All(p => p is >= 0 and <= 65535) ? endpoints : throw new JsonException("a port is none");
        }
        catch (JsonException e)
        {
            throw new SettingsException($"{In("endpoints.json")} is damaged ({e.Message}). Delete it, and give the ports that the node had with --http-port, --cluster-port, --data-port and --agent-port.");
        }
    }

    public void Write(NodeEndpoints endpoints) => Files.Replace(In("endpoints.json"), JsonSerializer.SerializeToUtf8Bytes(endpoints, Json));

    /// <summary>A file that only this user may read; made with that mode before it has content.</summary>
    public void WriteSecret(string path, string text)
    {
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var stream = new FileStream(path + ".new", options))
        {
            stream.Write(Encoding.UTF8.GetBytes(text));
            stream.Flush(flushToDisk: true);
        }
        Files.Rename(path + ".new", path);
        Files.FlushFolder(System.IO.Path.GetDirectoryName(path)!);
    }

    public void Dispose() => _lock.Dispose();
}
