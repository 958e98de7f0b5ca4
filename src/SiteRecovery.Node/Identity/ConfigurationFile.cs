using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Http;

namespace SiteRecovery.Node.Identity;

public sealed record StoredToken(string Name, AccessRole Role, string Hash);

public sealed record StoredJoinToken(string Id, string SecretHash, string Kind, DateTimeOffset ExpiresAt);

/// <summary>What operators have configured, durable in one file of the first node: named resources, tokens' hashes, join tokens.</summary>
public sealed class ConfigurationFile : ITokenStore
{
    private sealed record Content(
        Dictionary<string, SortedDictionary<string, JsonNode>> Resources, List<StoredToken> Tokens, List<StoredJoinToken> JoinTokens);

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };
    private readonly Lock _gate = new();
    private readonly DataFolder _folder;
    private readonly TimeProvider _time;
    private Content _content;

    public ConfigurationFile(DataFolder folder, TimeProvider time)
    {
        (_folder, _time) = (folder, time);
        var bytes = folder.Files.TryReadAll(FilePath);
        _content = bytes is null ? new Content([], [], []) : JsonSerializer.Deserialize<Content>(bytes, Json)!;
    }

    private string FilePath => _folder.In("configuration.json");

    public ValueTask<Caller?> FindAsync(string token, CancellationToken cancel)
    {
        var hash = Hash(token);
        lock (_gate)
            return new(_content.Tokens.Where(t => t.Hash == hash).Select(t => new Caller(t.Name, t.Role)).FirstOrDefault());
    }

    /// <summary>Makes a token; only its hash is kept.</summary>
    public string AddToken(string name, AccessRole role)
    {
        var token = RandomNumberGenerator.GetHexString(64, lowercase: true);
        lock (_gate)
        {
            _content.Tokens.RemoveAll(t => t.Name == name);
            _content.Tokens.Add(new StoredToken(name, role, Hash(token)));
            Save();
        }
        return token;
    }

    public bool HasTokens
    {
        get { lock (_gate) return _content.Tokens.Count > 0; }
    }

    /// <param name="kind">"node" or "agent".</param>
    public JoinToken AddJoinToken(string kind, string fingerprint, DateTimeOffset expiresAt)
    {
        var token = JoinToken.Create(fingerprint);
        lock (_gate)
        {
            _content.JoinTokens.RemoveAll(t => t.ExpiresAt < _time.GetUtcNow());
            _content.JoinTokens.Add(new StoredJoinToken(token.Id, Hash(token.Secret), kind, expiresAt));
            Save();
        }
        return token;
    }

    /// <summary>Uses a join token up; false if it is unknown, used, of another kind or too old.</summary>
    public bool TryRedeem(JoinToken token, string kind)
    {
        lock (_gate)
        {
            var found = _content.JoinTokens.FirstOrDefault(t => t.Id == token.Id && t.Kind == kind && t.SecretHash == Hash(token.Secret));
            if (found is null || found.ExpiresAt < _time.GetUtcNow()) return false;
            _content.JoinTokens.Remove(found);
            Save();
            return true;
        }
    }

    public IReadOnlyList<JsonNode> List(string noun)
    {
        lock (_gate) return _content.Resources.TryGetValue(noun, out var all) ? [.. all.Values.Select(v => v.DeepClone())] : [];
    }

    public JsonNode? Find(string noun, string name)
    {
        lock (_gate) return _content.Resources.GetValueOrDefault(noun)?.GetValueOrDefault(name)?.DeepClone();
    }

    public void Put(string noun, string name, JsonNode value)
    {
        lock (_gate)
        {
            if (!_content.Resources.TryGetValue(noun, out var all)) _content.Resources[noun] = all = new(StringComparer.Ordinal);
            all[name] = value.DeepClone();
            Save();
        }
    }

    public bool Remove(string noun, string name)
    {
        lock (_gate)
        {
            if (_content.Resources.GetValueOrDefault(noun)?.Remove(name) != true) return false;
            Save();
            return true;
        }
    }

    private void Save() => _folder.WriteSecret(FilePath, JsonSerializer.Serialize(_content, Json));

    private static string Hash(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
}
