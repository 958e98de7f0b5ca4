using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace SiteRecovery.EndToEnd.InProcess;

internal sealed record ScriptedRequest(string Method, string Path, JsonNode? Body, string? IdempotencyKey);

/// <summary>
/// An HTTP server that answers as the API does, moment by moment as a test says: a real job cannot be stopped between two of its steps.
/// </summary>
internal sealed class ScriptedApi : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ScriptedApi(WebApplication app) => _app = app;

    public ConcurrentQueue<ScriptedRequest> Requests { get; } = new();
    public string Url => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    public static async Task<ScriptedApi> StartAsync(Func<ScriptedRequest, int, (int Status, JsonNode? Body)> answer, CancellationToken stop, string? location = null, X509Certificate2? certificate = null)
    {
        var builder = WebApplication.CreateSlimBuilder(["--urls", $"{(certificate is null ? "http" : "https")}://127.0.0.1:0"]);
        if (certificate is not null) builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.ConfigureHttpsDefaults(https => https.ServerCertificate = certificate));
        builder.Logging.ClearProviders();
        var api = new ScriptedApi(builder.Build());
        api._app.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var body = await reader.ReadToEndAsync(stop);
            var request = new ScriptedRequest(context.Request.Method, $"{context.Request.Path}{context.Request.QueryString}",
                body.Length == 0 ? null : JsonNode.Parse(body), context.Request.Headers["Idempotency-Key"]);
            api.Requests.Enqueue(request);
            var (status, reply) = answer(request, api.Requests.Count);
            context.Response.StatusCode = status;
            if (location is { } at) context.Response.Headers.Location = at;
            context.Response.ContentType = status < 400 ? "application/json" : "application/problem+json";
            await context.Response.WriteAsync(reply?.ToJsonString() ?? "", stop);
        });
        await api._app.StartAsync(stop);
        return api;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
