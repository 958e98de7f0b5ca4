using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>A process server of the agent's site.</summary>
public sealed record ProcessServerEndpoint(string Host, int Port);

/// <summary>Where an agent belongs, as a configuration server tells it: <c>GET /api/v1/agents/home</c>.</summary>
/// <param name="ConfigurationServers">URLs; any of them tells the home anew.</param>
public sealed record AgentHome(string Name, string Site, IReadOnlyList<ProcessServerEndpoint> ProcessServers, IReadOnlyList<string> ConfigurationServers)
{
    /// <exception cref="JsonException">It is no home.</exception>
    public static AgentHome Read(ReadOnlySpan<byte> json) => Whole(JsonSerializer.Deserialize(json, AgentIdentityJson.Default.AgentHome));

    /// <summary>In which order the process servers are asked: after <paramref name="first"/>, where it is one of them, each agent begins with another one, and with the same one each time.</summary>
    public IEnumerable<ProcessServerEndpoint> InTurn(ProcessServerEndpoint? first)
    {
        var begin = (int)(BinaryPrimitives.ReadUInt32LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(Name))) % (uint)Math.Max(1, ProcessServers.Count));
        return ProcessServers.Where(s => s == first).Concat(ProcessServers.Skip(begin)).Concat(ProcessServers.Take(begin)).Distinct();
    }

    /// <summary>Lists that are left out are empty.</summary>
    internal static AgentHome Whole(AgentHome? home)
    {
        if (home is not { Name: not null, Site: not null }) throw new JsonException("a home lacks the agent's name or its site");
        var (servers, urls) = (home.ProcessServers ?? [], home.ConfigurationServers ?? []);
        if (!servers.All(s => s is { Host.Length: > 0, Port: > 0 and <= ushort.MaxValue })) throw new JsonException("a process server of the home has no address");
        if (!urls.All(u => Uri.TryCreate(u, UriKind.Absolute, out var url) && url.Scheme is "https" or "http")) throw new JsonException("a configuration server of the home has no URL");
        // One that cannot say who it is is not asked; the others may be.
        return home with { ProcessServers = servers, ConfigurationServers = [.. urls.Where(PeerTrust.IsHttps)] };
    }
}

/// <summary>Body of <c>POST /api/v1/agents/join</c>.</summary>
public sealed record AgentJoinAsk(string Token, string Name, string Csr);

/// <summary>Its answer: PEM certificates and the agent's home.</summary>
public sealed record AgentJoinAnswer(string Certificate, string Authority, AgentHome Home)
{
    /// <exception cref="JsonException">It is no answer to an agent that joins.</exception>
    public static AgentJoinAnswer Read(ReadOnlySpan<byte> json) => JsonSerializer.Deserialize(json, AgentIdentityJson.Default.AgentJoinAnswer) is { Certificate: not null, Authority: not null } answer
        ? answer with { Home = AgentHome.Whole(answer.Home) } : throw new JsonException("an answer lacks the certificate or the authority");
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(AgentHome))]
[JsonSerializable(typeof(AgentJoinAsk))]
[JsonSerializable(typeof(AgentJoinAnswer))]
internal sealed partial class AgentIdentityJson : JsonSerializerContext;

/// <summary>The agent's certificate and home: joined once with a token, kept in the data folder from then on.</summary>
public static class AgentIdentity
{
    private const int AnswerBytesMax = 1 << 20;

    public static async Task<(PeerIdentity Identity, AgentHome Home)> LoadOrJoinAsync(AgentOptions options, TimeProvider time, CancellationToken stop)
    {
        var pki = FolderIn(options.DataFolder);
        var (identity, damage) = Kept(pki);
        // With one that has expired nobody lets it in any more; what it is given to join with is meant for that.
        if (identity is not null && identity.HasEndedAt(time.GetUtcNow()) && options is { JoinUrl: not null, TokenFile: not null }) return await JoinAnewAsync(options, pki, identity, stop);
        if (identity is not null)
        {
            if (KeptHome(options.DataFolder) is { } home) return (identity, home);
            // The certificate is whole, and with it any configuration server tells the home.
            if (options.JoinUrl is { } url)
            {
                var asked = await RefreshAsync(options.DataFolder, identity, new AgentHome(identity.Self.Name, "", [], [url]), stop);
                if (asked.Site.Length > 0) return (identity, asked);
            }
            damage = $"{HomeFile(options.DataFolder)} is damaged or missing: give --join URL, the agent's certificate is kept";
        }
        return await JoinAsync(options, pki, damage ?? $"{options.DataFolder} holds no identity yet: give --join URL and --token-file FILE (srctl agent join-token makes a token)", stop);
    }

    internal static string FolderIn(string dataFolder) => Path.Combine(dataFolder, "pki");

    /// <summary>As who it was.</summary>
    private static async Task<(PeerIdentity Identity, AgentHome Home)> JoinAnewAsync(AgentOptions options, string pki, PeerIdentity former, CancellationToken stop)
    {
        var (name, day) = (former.Self.Name, CertificateOutOfTimeException.Day(former.EndsAt));
        former.Dispose();
        try
        {
            return await JoinAsync(options with { Name = name }, pki, "", stop);
        }
        catch (AgentProblem problem)
        {
            throw new AgentProblem($"the certificate of agent '{name}' expired on {day}, and joining anew failed: {problem.Message}", problem.IsUsage, problem);
        }
    }

    private static string HomeFile(string dataFolder) => Path.Combine(dataFolder, "agent.json");

    /// <summary>The certificate of this folder, or what is wrong with it; neither where there is none.</summary>
    private static (PeerIdentity? Identity, string? Damage) Kept(string pki)
    {
        if (!PeerIdentity.ExistsIn(pki)) return (null, null);
        try
        {
            return (PeerIdentity.Load(pki), null);
        }
        catch (Exception damaged) when (damaged is CryptographicException or ArgumentException or InvalidDataException or IOException)
        {
            return (null, $"the certificate in {pki} cannot be read ({damaged.Message}): join again with --join URL and --token-file FILE (srctl agent join-token --name NAME makes a token; NAME is the agent's)");
        }
    }

    /// <summary>Null where it is missing or damaged.</summary>
    private static AgentHome? KeptHome(string dataFolder)
    {
        try
        {
            return RealFileSystem.Instance.TryReadAll(HomeFile(dataFolder)) is { } kept ? AgentHome.Read(kept) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static async Task<(PeerIdentity Identity, AgentHome Home)> JoinAsync(AgentOptions options, string pki, string why, CancellationToken stop)
    {
        if (options.JoinUrl is null || options.TokenFile is null) throw new AgentProblem(why, isUsage: true);
        if (!File.Exists(options.TokenFile)) throw new AgentProblem($"the token file {options.TokenFile} does not exist", isUsage: true);
        if (!PeerTrust.IsHttps(options.JoinUrl)) throw new AgentProblem($"'{options.JoinUrl}' would send the join token in the clear, to whoever answers: use https:// with --join", isUsage: true);
        var text = (await File.ReadAllTextAsync(options.TokenFile, stop)).Trim();
        var token = JoinToken.Parse(text) ?? throw new AgentProblem($"{options.TokenFile} holds no join token: make one with srctl agent join-token", isUsage: true);

        var ask = JoinRequest.Create(options.Name);
        var answer = await JoinAsync(options.JoinUrl, token, new AgentJoinAsk(text, options.Name, ask.RequestPem), stop);
        try
        {
            PeerTrust.CheckJoined(answer.Certificate, answer.Authority, options.Name, token.Fingerprint);
            Keep(options.DataFolder, answer.Home);
            return (PeerIdentity.Save(pki, answer.Certificate, ask.KeyPem, answer.Authority), answer.Home);
        }
        catch (Exception unusable) when (unusable is CryptographicException or ArgumentException or InvalidDataException)
        {
            throw new AgentProblem($"{options.JoinUrl} gave a certificate that cannot be used: {unusable.Message}", cause: unusable);
        }
    }

    /// <summary>Asks the configuration servers where the agent belongs now; the home that is known stays where none answers.</summary>
    public static async Task<AgentHome> RefreshAsync(string dataFolder, PeerIdentity identity, AgentHome known, CancellationToken stop)
    {
        using var handler = PeerTrust.HttpHandler(identity.AuthorityCertificate, identity.Certificate);
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(10), MaxResponseContentBufferSize = AnswerBytesMax };
        foreach (var url in known.ConfigurationServers.Where(PeerTrust.IsHttps))
        {
            try
            {
                var home = AgentHome.Read(await http.GetByteArrayAsync(new Uri(new Uri(url), "/api/v1/agents/home"), stop));
                // A cluster that does not see this site's process servers is no reason to forget them: they may be up, and only the link down.
                if (home.ProcessServers.Count == 0 && home.Site == known.Site) home = home with { ProcessServers = known.ProcessServers };
                TryKeep(dataFolder, home);
                return home;
            }
            catch (Exception unreachable) when (unreachable is HttpRequestException or JsonException or TaskCanceledException && !stop.IsCancellationRequested)
            {
                // The next one, or the next time.
            }
        }
        return known;
    }

    /// <summary>A folder that takes nothing is no reason to look for the former process servers.</summary>
    private static void TryKeep(string dataFolder, AgentHome home)
    {
        try
        {
            if (KeptHome(dataFolder) is not { } kept || !Bytes(kept).AsSpan().SequenceEqual(Bytes(home))) Keep(dataFolder, home);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            // It is asked for again whenever no process server answers.
        }
    }

    private static byte[] Bytes(AgentHome home) => JsonSerializer.SerializeToUtf8Bytes(home, AgentIdentityJson.Default.AgentHome);

    private static void Keep(string dataFolder, AgentHome home)
    {
        RealFileSystem.Instance.CreateDirectory(dataFolder);
        RealFileSystem.Instance.Replace(HomeFile(dataFolder), Bytes(home));
    }

    private static async Task<AgentJoinAnswer> JoinAsync(string url, JoinToken token, AgentJoinAsk ask, CancellationToken stop)
    {
        using var handler = PeerTrust.JoinHandler(token.Fingerprint);
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(30), MaxResponseContentBufferSize = AnswerBytesMax };
        try
        {
            using var answer = await http.PostAsJsonAsync(new Uri(new Uri(url), "/api/v1/agents/join"), ask, AgentIdentityJson.Default.AgentJoinAsk, stop);
            if (!answer.IsSuccessStatusCode)
                throw new AgentProblem($"{url} refused to let this agent join ({(int)answer.StatusCode}): {JoinRefusal.TextOf(await answer.Content.ReadAsStringAsync(stop))}");
            return AgentJoinAnswer.Read(await answer.Content.ReadAsByteArrayAsync(stop));
        }
        catch (JsonException other)
        {
            throw new AgentProblem($"{url} answered something else ({other.Message}); check that it is a configuration server's", cause: other);
        }
        catch (HttpRequestException error) when (error.InnerException is CertificateOutOfTimeException told)
        {
            throw new AgentProblem($"cannot join at {url}: {told.Message}", cause: error);
        }
        catch (HttpRequestException error)
        {
            throw new AgentProblem($"cannot reach {url}: {error.Message}; check the address and that the configuration server runs", cause: error);
        }
    }
}
