using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.Node.Demo;

/// <summary>The administrator's side of the demo: the HTTP admin endpoint of one site, reached as any script would reach it.</summary>
public sealed class DemoSite : IDisposable
{
    private readonly HttpClient _http;

    /// <param name="dataFolder">The node's --data folder: its endpoints, authority and administrator token are read from there.</param>
    public DemoSite(string dataFolder)
    {
        var endpoints = JsonNode.Parse(File.ReadAllText(Path.Combine(dataFolder, "endpoints.json")))!;
        Url = new Uri(endpoints["httpUrl"]?.GetValue<string>() ?? $"https://127.0.0.1:{endpoints["http"]!.GetValue<int>()}");
        var authority = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(dataFolder, "pki", "ca.crt"));
        var handler = new HttpClientHandler
        {
            ServerCertificateCustomValidationCallback = (_, certificate, _, _) =>
            {
                using var chain = new X509Chain();
                chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                chain.ChainPolicy.CustomTrustStore.Add(authority);
                chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                return certificate is not null && chain.Build(certificate);
            },
        };
        _http = new HttpClient(handler) { BaseAddress = Url, Timeout = TimeSpan.FromMinutes(2) };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", File.ReadAllText(Path.Combine(dataFolder, "admin.token")).Trim());
    }

    public Uri Url { get; }

    public async Task<bool> IsReadyAsync(CancellationToken stop)
    {
        try
        {
            using var answer = await _http.GetAsync("/healthz/ready", stop);
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    public async Task<JsonNode> GetAsync(string path, CancellationToken stop) => await SendAsync(HttpMethod.Get, path, null, stop);

    /// <param name="idempotencyKey">What is posted again under the same key is carried out once.</param>
    public async Task<JsonNode> PostAsync(string path, object? body, CancellationToken stop, string? idempotencyKey = null) => await SendAsync(HttpMethod.Post, path, body, stop, idempotencyKey);

    public async Task<JsonNode> PutAsync(string path, object body, CancellationToken stop) => await SendAsync(HttpMethod.Put, path, body, stop);

    public async Task<JsonNode> DeleteAsync(string path, CancellationToken stop) => await SendAsync(HttpMethod.Delete, path, null, stop);

    /// <summary>Waits for a job's end and throws with its error unless it succeeded.</summary>
    public async Task<JsonNode> FinishAsync(JsonNode job, CancellationToken stop)
    {
        var id = job["id"]!.GetValue<string>();
        while (true)
        {
            var seen = await GetAsync($"/api/v1/jobs/{id}?wait=10s", stop);
            switch (seen["status"]!.GetValue<string>())
            {
                case "succeeded" or "succeededWithWarnings": return seen;
                case "failed" or "cancelled": throw new InvalidOperationException($"job {id} did not succeed: {seen.ToJsonString()}");
            }
        }
    }

    private async Task<JsonNode> SendAsync(HttpMethod method, string path, object? body, CancellationToken stop, string? idempotencyKey = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (idempotencyKey is not null) request.Headers.Add("Idempotency-Key", idempotencyKey);
        if (body is not null) request.Content = JsonContent.Create(body);
        using var answer = await _http.SendAsync(request, stop);
        var text = await answer.Content.ReadAsStringAsync(stop);
        if (!answer.IsSuccessStatusCode) throw new InvalidOperationException($"{method} {path} answered {(int)answer.StatusCode}: {text}");
        return text.Length == 0 ? new JsonObject() : JsonNode.Parse(text) ?? throw new JsonException($"{method} {path} answered no JSON");
    }

    public void Dispose() => _http.Dispose();
}
