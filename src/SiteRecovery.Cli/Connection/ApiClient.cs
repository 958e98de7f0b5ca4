using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Cli.Connection;

/// <param name="Job">Id of the job that was started; null where the answer is final.</param>
internal sealed record Answer(JsonNode? Body, string? ETag, string? Job);

/// <summary>
/// /api/v1 of a cluster. A node that cannot be reached, or does not reach the cluster itself, is passed over for the next one;
/// that is safe for changes too, as they are idempotent by name or by key.
/// </summary>
internal sealed class ApiClient : IDisposable
{
    /// <summary>Longer than any wait that srctl asks a node for.</summary>
    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(40);
    /// <summary>A page of the longest list has a few MiB.</summary>
    private const int AnswerBytesMax = 64 << 20;
    private readonly HttpClient _http;
    private readonly Target _target;
    private int _server;

    public ApiClient(Target target)
    {
        _target = target;
        _http = new HttpClient(Handler(target.CaFile)) { Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = AnswerBytesMax };
        if (target.TokenFile is { } path) _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", ReadToken(path));
    }

    public Task<Answer> GetAsync(string path, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, cancel);

    /// <summary>All items of a list, page after page.</summary>
    public async Task<IReadOnlyList<JsonNode>> ListAsync(string path, CancellationToken cancel, int? limit = null)
    {
        List<JsonNode> items = [];
        for (string? cursor = null; ;)
        {
            var more = string.Join('&', new[] { limit is { } max ? $"limit={max - items.Count}" : null, cursor is null ? null : $"cursor={Uri.EscapeDataString(cursor)}" }.OfType<string>());
            var page = (await GetAsync(more.Length == 0 ? path : $"{path}{(path.Contains('?', StringComparison.Ordinal) ? '&' : '?')}{more}", cancel)).Body;
            items.AddRange(page.Items());
            // The same on every page.
            if (cursor is null && page.At("notAnswering").Items() is { Count: > 0 } silent)
                Session.Say($"left out, for they do not answer: {string.Join(", ", silent.Select(s => s.Text()))}");
            var former = cursor;
            cursor = page.At("nextCursor") is { } next ? next.Text() : null;
            if (cursor is not null && cursor == former) throw new CommandProblem(ExitCode.Failed, $"the list of {path} does not end", "Two of its pages have the same next one.", "Check that --server names a node's HTTP address, and any proxy between.");
            if (cursor is null || items.Count >= limit) return items;
        }
    }

    /// <exception cref="CommandProblem">The answer is not a success, or no node can be reached.</exception>
    public async Task<Answer> SendAsync(
        HttpMethod method, string path, JsonNode? body, CancellationToken cancel, string? ifMatch = null, string? idempotencyKey = null)
    {
        for (var attempt = 1; ; attempt++)
        {
            var server = _target.Servers[_server];
            try
            {
                return await SendToAsync(server, method, path, body, ifMatch, idempotencyKey, cancel);
            }
            catch (CommandProblem problem) when (problem.ExitCode == ExitCode.Unreachable && attempt < _target.Servers.Count)
            {
                _server = (_server + 1) % _target.Servers.Count;
            }
        }
    }

    private async Task<Answer> SendToAsync(
        Uri server, HttpMethod method, string path, JsonNode? body, string? ifMatch, string? idempotencyKey, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(method, $"{server.ToString().TrimEnd('/')}/api/v1/{path}");
        if (body is not null) request.Content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        if (ifMatch is not null) request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        if (idempotencyKey is not null) request.Headers.TryAddWithoutValidation("Idempotency-Key", idempotencyKey);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(AnswerWithin);
        try
        {
            using var response = await _http.SendAsync(request, patience.Token);
            var json = Parse(await response.Content.ReadAsStringAsync(patience.Token));
            if (!response.IsSuccessStatusCode) throw CommandProblem.OfAnswer($"{method} /api/v1/{path}", (int)response.StatusCode, json);
            var job = response.StatusCode == HttpStatusCode.Accepted ? JobOf(response.Headers.Location, json) : null;
            return new Answer(json, response.Headers.ETag?.ToString(), job);
        }
        catch (HttpRequestException e)
        {
            throw Unreachable(server, e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new CommandProblem(ExitCode.Unreachable, $"{server} does not answer", $"No answer came within {Forms.Span(AnswerWithin)}.", "Look at the node's log, or use another node of the cluster.", e);
        }
    }

    /// <summary>Not all that is accepted is a job: the verification of a point is looked up among the points.</summary>
    private static string? JobOf(Uri? location, JsonNode? body) => location is null ? body.At("id")?.Text() : location.ToString().Split('/') is [.., "jobs", var id] ? id : null;

    private CommandProblem Unreachable(Uri server, HttpRequestException e) => e.InnerException is CertificateOutOfTimeException told
        ? new(ExitCode.Unreachable, $"{server}: {told.What}", null, $"{char.ToUpperInvariant(told.Remedy[0])}{told.Remedy[1..]}.", e)
        : e.HttpRequestError == HttpRequestError.SecureConnectionError
        ? new(ExitCode.Unreachable, $"{server} is not trusted", e.InnerException?.Message ?? e.Message, _target.CaFile is null
            ? "Name the cluster's authority with --ca-file F: it is DIR/pki/ca.crt of any node."
            : $"Check that {_target.CaFile} is the authority of this cluster: pki/ca.crt of one of its nodes.", e)
        : new(ExitCode.Unreachable, $"{server} cannot be reached", e.InnerException?.Message ?? e.Message, "Check the URL and that the node runs; --server may be given several times.", e);

    private static JsonNode? Parse(string text)
    {
        try
        {
            return text.Length == 0 ? null : JsonReading.Parse(text);
        }
        catch (JsonException)
        {
            return null; // a proxy's page: the status says what there is to say
        }
    }

    private static string ReadToken(string path)
    {
        try
        {
            var token = File.ReadAllText(path).Trim();
            return token.Length > 0 && token.All(c => char.IsAscii(c) && !char.IsWhiteSpace(c) && !char.IsControl(c)) ? token
                : throw CommandProblem.Usage($"{path} holds no token", "The administrator's token lies in admin.token in the first node's data directory.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandProblem(ExitCode.Usage, $"the token cannot be read from {path}", e.Message, "Name a readable file with --token-file F or SRCTL_TOKEN_FILE. The administrator's token lies in admin.token in the first node's data directory, and in no other node's; 'srctl token make' makes more.", e);
        }
    }

    private static SocketsHttpHandler Handler(string? caFile)
    {
        if (caFile is null) return new SocketsHttpHandler();
        try
        {
            return PeerTrust.HttpHandler(X509CertificateLoader.LoadCertificateFromFile(caFile));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new CommandProblem(ExitCode.Usage, $"the authority cannot be read from {caFile}", e.Message, "Name a certificate in PEM with --ca-file F: it is DIR/pki/ca.crt of any node.", e);
        }
    }

    public void Dispose() => _http.Dispose();
}
