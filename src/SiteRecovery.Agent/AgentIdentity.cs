using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>A process server of the agent's site.</summary>
public sealed record ProcessServerEndpoint(string Host, int Port);

/// <summary>What the configuration server told the agent when it joined.</summary>
public sealed record AgentHome(string Name, string Site, IReadOnlyList<ProcessServerEndpoint> ProcessServers);

/// <summary>Body of <c>POST /api/v1/agents/join</c>.</summary>
public sealed record AgentJoinAsk(string Token, string Name, string Request);

/// <summary>Its answer: PEM certificates and where to connect.</summary>
public sealed record AgentJoinAnswer(string Name, string Site, string Certificate, string Authority, IReadOnlyList<ProcessServerEndpoint> ProcessServers);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(AgentHome))]
[JsonSerializable(typeof(AgentJoinAsk))]
[JsonSerializable(typeof(AgentJoinAnswer))]
internal sealed partial class AgentIdentityJson : JsonSerializerContext;

/// <summary>The agent's certificate and home: joined once with a token, kept in the data folder from then on.</summary>
public static class AgentIdentity
{
    public static async Task<(PeerIdentity Identity, AgentHome Home)> LoadOrJoinAsync(AgentOptions options, CancellationToken stop)
    {
        var pki = Path.Combine(options.DataFolder, "pki");
        var homeFile = Path.Combine(options.DataFolder, "agent.json");
        if (PeerIdentity.ExistsIn(pki) && RealFileSystem.Instance.TryReadAll(homeFile) is { } kept)
            return (PeerIdentity.Load(pki), JsonSerializer.Deserialize(kept, AgentIdentityJson.Default.AgentHome)!);
        if (options.JoinUrl is null || options.TokenFile is null)
            throw new AgentProblem($"{options.DataFolder} holds no identity yet: give --join URL and --token-file FILE (srctl agent join-token makes a token)", isUsage: true);
        if (!File.Exists(options.TokenFile)) throw new AgentProblem($"the token file {options.TokenFile} does not exist", isUsage: true);
        var text = (await File.ReadAllTextAsync(options.TokenFile, stop)).Trim();
        var token = JoinToken.Parse(text) ?? throw new AgentProblem($"{options.TokenFile} holds no join token: make one with srctl agent join-token", isUsage: true);

        var ask = JoinRequest.Create(options.Name);
        var answer = await JoinAsync(options.JoinUrl, token, new AgentJoinAsk(text, options.Name, ask.RequestPem), stop);
        var home = new AgentHome(answer.Name, answer.Site, answer.ProcessServers);
        RealFileSystem.Instance.CreateDirectory(options.DataFolder);
        RealFileSystem.Instance.Replace(homeFile, JsonSerializer.SerializeToUtf8Bytes(home, AgentIdentityJson.Default.AgentHome));
        return (PeerIdentity.Save(pki, answer.Certificate, ask.KeyPem, answer.Authority), home);
    }

    private static async Task<AgentJoinAnswer> JoinAsync(string url, JoinToken token, AgentJoinAsk ask, CancellationToken stop)
    {
        using var handler = PeerTrust.JoinHandler(token.Fingerprint);
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(30) };
        try
        {
            using var answer = await http.PostAsJsonAsync(new Uri(new Uri(url), "/api/v1/agents/join"), ask, AgentIdentityJson.Default.AgentJoinAsk, stop);
            if (!answer.IsSuccessStatusCode)
                throw new AgentProblem($"{url} refused to let this agent join ({(int)answer.StatusCode}): {await answer.Content.ReadAsStringAsync(stop)}");
            return await answer.Content.ReadFromJsonAsync(AgentIdentityJson.Default.AgentJoinAnswer, stop)
                ?? throw new AgentProblem($"{url} answered nothing");
        }
        catch (HttpRequestException error)
        {
            throw new AgentProblem($"cannot reach {url}: {error.Message}; check the address and that the configuration server runs", cause: error);
        }
    }
}
