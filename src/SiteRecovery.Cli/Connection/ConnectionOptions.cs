using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli.Connection;

/// <param name="Servers">Nodes of one cluster, tried in this order.</param>
/// <param name="CaFile">The authority that signs the nodes' certificates; null: those that this host trusts.</param>
internal sealed record Target(IReadOnlyList<Uri> Servers, string? TokenFile, string? CaFile);

/// <summary>Where to and as whom: command line, then environment, then context.</summary>
internal static class ConnectionOptions
{
    public static readonly Option<string[]> Server = new("--server") { Description = "URL of a node; several are tried in turn (SRCTL_SERVER, separated by commas)", Recursive = true };
    public static readonly Option<string?> TokenFile = new("--token-file") { Description = "File with a bearer token (SRCTL_TOKEN_FILE)", Recursive = true };
    public static readonly Option<string?> CaFile = new("--ca-file") { Description = "The cluster's authority: DIR/pki/ca.crt of a node (SRCTL_CA_FILE)", Recursive = true };
    public static readonly Option<string?> Data = new("--data") { Description = "Data directory of a node on this host, in place of server, token and authority", Recursive = true };
    public static readonly Option<string?> Context = new("--context") { Description = "Context to use instead of the current one", Recursive = true };

    static ConnectionOptions() => Context.CompletionSources.Add(_ => Contexts.NamesForCompletion());

    public static void AddTo(RootCommand root)
    {
        foreach (var option in new Option[] { Server, TokenFile, CaFile, Data, Context }) root.Add(option);
    }

    /// <summary>A context's token goes to that context's servers only.</summary>
    public static Target Resolve(ParseResult arguments)
    {
        var servers = arguments.GetValue(Server) is { Length: > 0 } given ? given : null;
        var (token, ca) = (arguments.GetValue(TokenFile), arguments.GetValue(CaFile));
        if (arguments.GetValue(Data) is { } data) return Merge(OfDataFolder(data), servers, token, ca);
        var context = arguments.GetValue(Context);
        var environmentServer = context is null ? Variable("SRCTL_SERVER") : null;
        if ((servers ?? environmentServer?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)) is { } named)
            return new Target(Parse(named), token ?? Variable("SRCTL_TOKEN_FILE"), ca ?? Variable("SRCTL_CA_FILE"));
        var found = Contexts.Load().Find(context) ?? throw CommandProblem.Usage(
            context is null ? "no node is named" : $"there is no context '{context}'",
            context is null ? "Give --server URL or --data DIR, set SRCTL_SERVER, or make a context: srctl context add NAME --server URL --token-file F --ca-file F." : "List them: srctl context list.");
        return Merge(found, null, token ?? (context is null ? Variable("SRCTL_TOKEN_FILE") : null), ca ?? (context is null ? Variable("SRCTL_CA_FILE") : null));
    }

    public static IReadOnlyList<Uri> Parse(IEnumerable<string> servers) => [.. servers.Select(text =>
    {
        if (!Uri.TryCreate(text.Contains("://", StringComparison.Ordinal) ? text : $"https://{text}", UriKind.Absolute, out var url) || url.Scheme is not ("https" or "http") || url.Host.Length == 0)
            throw CommandProblem.Usage($"'{text}' is no URL of a node", "Give it as https://HOST:8480.");
        if (url.Scheme == "http" && !url.IsLoopback)
            throw CommandProblem.Usage($"'{text}' would send the token in the clear", "Use https://; http:// is for this host only.");
        return url;
    })];

    public static Target OfDataFolder(string folder)
    {
        var path = Path.Combine(folder, "endpoints.json");
        try
        {
            var url = JsonReading.Parse(File.ReadAllText(path)).At("httpUrl").Text();
            return new Target(Parse([url]), Path.GetFullPath(Path.Combine(folder, "admin.token")), Path.GetFullPath(Path.Combine(folder, "pki", "ca.crt")));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new CommandProblem(ExitCode.Usage, $"{folder} is no data directory of a node that was started", e.Message, "Name the node's --data directory, and read it as the user that the node runs as.", e);
        }
    }

    private static Target Merge(Target target, string[]? servers, string? token, string? ca) =>
        new(servers is null ? target.Servers : Parse(servers), token ?? target.TokenFile, ca ?? target.CaFile);

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
