using System.Net;
using System.Security.Authentication;
using Akka.Configuration;
using OpenTelemetry.Metrics;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <param name="TokenFile">Needed only for the first start.</param>
public sealed record JoinOrder(string Url, string? TokenFile);

/// <summary>One node in this process, from its data directory's lock to its open ports.</summary>
public sealed class RunningNode : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly DataFolder _folder;

    private RunningNode(WebApplication app, DataFolder folder, NodeEndpoints endpoints) => (_app, _folder, Endpoints) = (app, folder, endpoints);

    public NodeEndpoints Endpoints { get; }

    public static async Task<RunningNode> StartAsync(NodeSettings settings, Config hocon, JoinOrder? join, TimeProvider time, CancellationToken cancel)
    {
        var folder = new DataFolder(settings.DataFolder);
        try
        {
            var ports = FreePorts.Resolve(settings.Ports, settings.Address, folder.ReadEndpoints());
            var identity = await IdentifyAsync(folder, settings, ports, join, time, cancel);
            var endpoints = new NodeEndpoints($"https://{settings.Address}:{ports.Http}", settings.Address, ports.Http, ports.Cluster, ports.Data, ports.Agent);
            var configuration = new ConfigurationFile(folder, time);
            if (join is null && !configuration.HasTokens)
            {
                folder.WriteSecret(folder.In("admin.token"), configuration.AddToken("admin", AccessRole.Administrator) + "\n");
                Console.Error.WriteLine($"the administrator's token is in {folder.In("admin.token")}");
            }
            var app = Build(settings, hocon, folder, ports, identity, endpoints, configuration, time);
            await app.StartAsync(cancel);
            folder.Write(endpoints);
            Console.Error.WriteLine($"node {settings.Name} of site {settings.Site} serves {endpoints.HttpUrl}");
            return new RunningNode(app, folder, endpoints);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    public Task WaitAsync() => _app.WaitForShutdownAsync();

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _folder.Dispose();
    }

    private static async Task<NodeIdentity> IdentifyAsync(
        DataFolder folder, NodeSettings settings, NodePorts ports, JoinOrder? join, TimeProvider time, CancellationToken cancel)
    {
        if (NodeIdentity.Joined(folder) is { } joined) return joined;
        if (join is null) return NodeIdentity.First(folder, settings, time);
        if (join.TokenFile is null || folder.Files.TryReadAll(Path.GetFullPath(join.TokenFile)) is not { } token)
            throw new SettingsException("--join needs --token-file FILE with a token of 'srctl node join-token'.");
        return await NodeIdentity.JoinAsync(folder, settings, ports, join.Url, System.Text.Encoding.UTF8.GetString(token), cancel);
    }

    private static WebApplication Build(
        NodeSettings settings, Config hocon, DataFolder folder, NodePorts ports, NodeIdentity identity, NodeEndpoints endpoints,
        ConfigurationFile configuration, TimeProvider time)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.SetMinimumLevel(Enum.Parse<LogLevel>(settings.LogLevel, ignoreCase: true)).AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Microsoft.AspNetCore.Diagnostics.ExceptionHandlerMiddleware", LogLevel.None); // Problems logs what is unexpected
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = settings.BodyBytesMax;
            kestrel.AddServerHeader = false;
            var bind = IPAddress.TryParse(settings.Address, out var ip) ? ip : IPAddress.Any;
            kestrel.Listen(bind, ports.Http, listen => listen.UseHttps(https =>
            {
                https.ServerCertificate = identity.Peer.Certificate;
                https.SslProtocols = SslProtocols.Tls13;
            }));
        });
        var services = builder.Services;
        services.AddSingleton(settings).AddSingleton(identity).AddSingleton(endpoints).AddSingleton(configuration).AddSingleton(time);
        services.AddSingleton<ITokenStore>(configuration).AddSingleton(new AuditLog(folder.In("audit.jsonl"), time));
        services.AddSingleton<IControlPlane, ControlPlane>();
        services.ConfigureHttpJsonOptions(json => JsonForms.AddTo(json.SerializerOptions));
        services.AddProblemDetails();
        services.AddOpenApi("v1");
        services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter("SiteRecovery", "Microsoft.AspNetCore.Hosting", "System.Runtime").AddPrometheusExporter());
        services.AddCluster(settings, ports, identity, hocon, folder.In("journal.db"));
        var app = builder.Build();
        AdminEndpoint.Map(app);
        return app;
    }
}
