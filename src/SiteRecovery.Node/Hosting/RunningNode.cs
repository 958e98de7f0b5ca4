using System.Net;
using System.Security.Authentication;
using Akka.Configuration;
using OpenTelemetry.Metrics;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Metrics;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <param name="TokenFile">Needed only for the first start.</param>
public sealed record JoinOrder(string Url, string? TokenFile);

/// <summary>One node in this process, from its data directory's lock to its open ports.</summary>
public sealed class RunningNode : IAsyncDisposable
{
    private static readonly TimeSpan HeadersPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan IdlePatience = TimeSpan.FromSeconds(30);
    private readonly WebApplication _app;
    private readonly ClusterHost _cluster;
    private readonly DataPlaneRooms _rooms;
    private readonly DataFolder _folder;
    private readonly HeldPorts _ports;
    private readonly NodeCertificate _certificate;
    private readonly Task<string> _displaced;

    private RunningNode(WebApplication app, ClusterHost cluster, DataPlaneRooms rooms, DataFolder folder, HeldPorts ports, NodeCertificate certificate, Task<string> displaced, NodeEndpoints endpoints) =>
        (_app, _cluster, _rooms, _folder, _ports, _certificate, _displaced, Endpoints) = (app, cluster, rooms, folder, ports, certificate, displaced, endpoints);

    public NodeEndpoints Endpoints { get; }
    /// <summary>The actor system of now.</summary>
    public Akka.Actor.ActorSystem Actors => _cluster.System;

    /// <exception cref="SettingsException">What it is started with cannot be right.</exception>
    /// <exception cref="IOException">A port is in use, its folder cannot be written, or a file is damaged.</exception>
    public static async Task<RunningNode> StartAsync(NodeSettings settings, Config hocon, JoinOrder? join, TimeProvider time, CancellationToken cancel)
    {
        NodeIdentity.CheckBeginning(settings, join is not null);
        var folder = new DataFolder(settings.DataFolder);
        HeldPorts? held = null;
        try
        {
            settings = Allowed(settings with { Address = await HostAddress.ResolveAsync(settings.Address, cancel) }, NodeIdentity.Joined(folder) is not null, join is not null);
            held = new HeldPorts(settings.Ports, settings.Address, folder.ReadEndpoints(), PortsOf(settings));
            var ports = held.Ports;
            var (host, told) = (settings.Advertised.Address, settings.Advertised.Ports.Or(ports));
            var identity = await IdentifyAsync(folder, settings, told, join, time, cancel);
            var endpoints = new NodeEndpoints($"https://{host}:{told.Http}", settings.Address, ports.Http, ports.Cluster, ports.Data, ports.Agent);
            var rooms = OpenRooms(settings, ports, identity, folder, time);
            var loggers = LoggerFactory.Create(logging => Configure(logging, settings));
            var displaced = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            var own = new NodeAnnouncement(settings.Name, ClusterHosting.AddressOf(host, told.Cluster), new SiteName(settings.Site), [.. settings.Roles],
                host, endpoints.HttpUrl, told.Data, told.Agent, [], StoresHeld.None);
            var cluster = new ClusterHost(settings, ports, identity, own, hocon, folder, rooms, loggers, why => displaced.TrySetResult(why), time);
            var certificate = new NodeCertificate(folder, identity, settings, cluster, loggers.CreateLogger<NodeCertificate>(), time);
            await certificate.StartAsync(cancel);
            var app = Build(settings, folder, ports, identity, endpoints, cluster, time);
            await cluster.StartAsync(cancel);
            await app.StartAsync(cancel);
            Keep(endpoints, folder);
            Console.Error.WriteLine($"node {settings.Name} of site {settings.Site} serves {endpoints.HttpUrl}");
            certificate.Keep();
            return new RunningNode(app, cluster, rooms, folder, held, certificate, displaced.Task, endpoints);
        }
        catch
        {
            held?.Dispose();
            folder.Dispose();
            throw;
        }
    }

    /// <summary>A full disk must not keep replicas from being served, nor a process server from sending on what fills it.</summary>
    private static void Keep(NodeEndpoints endpoints, DataFolder folder)
    {
        try
        {
            if (folder.ReadEndpoints() != endpoints) folder.Write(endpoints);
        }
        catch (Exception unkept) when (unkept is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"the node's addresses cannot be kept: {unkept.Message}; where no ports are given the next start takes others");
        }
    }

    /// <summary>Until it is told to end; or why it must: another node has its name.</summary>
    public async Task<string?> WaitAsync() =>
        await Task.WhenAny(_displaced, _app.WaitForShutdownAsync()) == _displaced ? await _displaced : null;

    public async ValueTask DisposeAsync()
    {
        await _certificate.DisposeAsync();
        await _app.StopAsync();
        await _app.DisposeAsync();
        await _cluster.DisposeAsync();
        if (_rooms.ProcessServer is { } processServer) await processServer.DisposeAsync();
        if (_rooms.MasterTarget is { } masterTarget) await masterTarget.DisposeAsync();
        _ports.Dispose();
        _folder.Dispose();
    }

    private static DataPlaneRooms OpenRooms(NodeSettings settings, NodePorts ports, NodeIdentity identity, DataFolder folder, TimeProvider time)
    {
        var bind = IPAddress.Parse(settings.Address);
        var group = settings.SocketGroup.Length > 0 ? settings.SocketGroup : null;
        if (settings.Is(NodeRoles.MasterTarget) && group is not null) OpenWay(folder);
        if (settings.Is(NodeRoles.MasterTarget))
            foreach (var open in settings.StoreKeys.ReadableByAll()) Console.Error.WriteLine(open);
        var rooms = new DataPlaneRooms(
            settings.Is(NodeRoles.ProcessServer) ? new ProcessServerRoom(folder.In("process-server"), new IPEndPoint(bind, ports.Agent), settings.SpoolBytesMax, identity.Peer, folder.Files, time) : null,
            settings.Is(NodeRoles.MasterTarget) ? new MasterTargetRoom(folder.In("master-target"), new IPEndPoint(bind, ports.Data), identity.Peer, folder.Files, time,
                settings.Hypervisor.Open(folder.In("machines"), folder.Files, time), settings.StoreKeys.Open(folder.Files), group) { ScrubPause = settings.ScrubPause } : null);
        rooms.ProcessServer?.Start();
        rooms.MasterTarget?.Start();
        return rooms;
    }

    /// <summary>To the replicas' disks, and to the images that tell their guests' addresses.</summary>
    private static void OpenWay(DataFolder folder)
    {
        folder.Files.CreateDirectory(folder.In("master-target", MasterTargetRoom.SeedsName));
        PassableFolder.TryOpen(folder.In("master-target"), Console.Error.WriteLine, MasterTargetRoom.SocketName, MasterTargetRoom.SeedsName);
        PassableFolder.TryOpen(folder.Path, Console.Error.WriteLine, "master-target");
    }

    private static void Configure(ILoggingBuilder logging, NodeSettings settings) => logging
        .AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
        })
        .SetMinimumLevel(Enum.Parse<LogLevel>(settings.LogLevel, ignoreCase: true)).AddFilter("Microsoft", LogLevel.Warning)
        .AddFilter("Akka", settings.LogLevel is "trace" or "debug" ? LogLevel.Debug : LogLevel.Warning)
        .AddFilter("Microsoft.AspNetCore.Diagnostics.ExceptionHandlerMiddleware", LogLevel.None); // Problems logs what is unexpected

    /// <summary>Whoever joined with a journal of its own is no configuration server; but what is served there must not go down for that.</summary>
    private static NodeSettings Allowed(NodeSettings settings, bool hasJoined, bool joins)
    {
        if (!(hasJoined || joins) || !settings.Is(NodeRoles.ConfigurationServer) || settings.PersistenceProvider != NodeSettings.Sqlite) return settings;
        var why = $"{NodeSettings.JournalNotShared} {NodeSettings.ShareTheJournal}";
        string[] others = [.. settings.Roles.Where(r => r != NodeRoles.ConfigurationServer)];
        if (!hasJoined || others.Length == 0) throw new SettingsException(why);
        Console.Error.WriteLine($"this node goes on without the role {NodeRoles.ConfigurationServer}. {why}");
        return settings with { Roles = others };
    }

    private static async Task<NodeIdentity> IdentifyAsync(
        DataFolder folder, NodeSettings settings, NodePorts ports, JoinOrder? join, TimeProvider time, CancellationToken cancel)
    {
        var joined = NodeIdentity.Joined(folder);
        if (joined is null && join is null) return NodeIdentity.First(folder, settings, time);
        if (joined is not null && !joined.Peer.HasEndedAt(time.GetUtcNow())) return joined;
        try
        {
            return await JoinAsync(folder, settings, ports, join, cancel) ?? joined!;
        }
        // Replicas are served, and what is spooled is kept, without a cluster too.
        catch (Exception unjoined) when (joined is not null && unjoined is SettingsException or IOException or UnauthorizedAccessException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            Console.Error.WriteLine($"the certificate of '{joined.Peer.Self.Name}' expired on {CertificateOutOfTimeException.Day(joined.Peer.EndsAt)}, and joining anew failed: {unjoined.Message}");
            return joined;
        }
    }

    /// <summary>Null: it was not told to.</summary>
    private static async Task<NodeIdentity?> JoinAsync(DataFolder folder, NodeSettings settings, NodePorts ports, JoinOrder? join, CancellationToken cancel)
    {
        if (join is null) return null;
        if (join.TokenFile is null || folder.Files.TryReadAll(Path.GetFullPath(join.TokenFile)) is not { } token)
            throw new SettingsException("--join needs --token-file FILE with a token of 'srctl node join-token'.");
        return await NodeIdentity.JoinAsync(folder, settings, ports, join.Url, System.Text.Encoding.UTF8.GetString(token), cancel);
    }

    private static HashSet<string> PortsOf(NodeSettings settings)
    {
        HashSet<string> used = ["http", "cluster"];
        if (settings.Is(NodeRoles.MasterTarget)) used.Add("data");
        if (settings.Is(NodeRoles.ProcessServer)) used.Add("agent");
        return used;
    }

    private static WebApplication Build(
        NodeSettings settings, DataFolder folder, NodePorts ports, NodeIdentity identity, NodeEndpoints endpoints, ClusterHost cluster, TimeProvider time)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        Configure(builder.Logging, settings);
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = settings.BodyBytesMax;
            // Descriptors are shared with stores and disks, and nobody needs a token to connect.
            kestrel.Limits.MaxConcurrentConnections = settings.ConnectionsMax;
            kestrel.Limits.RequestHeadersTimeout = HeadersPatience;
            kestrel.Limits.KeepAliveTimeout = IdlePatience;
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Parse(settings.Address), ports.Http, listen => listen.UseHttps(https =>
            {
                https.ServerCertificateSelector = (_, _) => identity.Peer.Certificate;
                https.SslProtocols = SslProtocols.Tls13;
                // An agent shows its certificate to learn its home, and whoever has one to get the next; the route judges it.
                https.ClientCertificateMode = Microsoft.AspNetCore.Server.Kestrel.Https.ClientCertificateMode.AllowCertificate;
                https.ClientCertificateValidation = (_, _, _) => true;
            }));
        });
        var services = builder.Services;
        services.AddSingleton(settings).AddSingleton(identity).AddSingleton(endpoints).AddSingleton(folder).AddSingleton(time);
        services.AddSingleton(cluster).AddSingleton<ControlPlane>().AddSingleton<TokenStore>().AddSingleton<JoinDesk>();
        services.ConfigureHttpJsonOptions(json => JsonForms.AddTo(json.SerializerOptions));
        // What is wrong with a body is told by Problems, with the property's name.
        services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        services.AddProblemDetails();
        services.AddOpenApi("v1", openApi => openApi.AddDocumentTransformer((document, _, _) =>
        {
            // The document is the same on every node: it names no server.
            document.Servers?.Clear();
            document.Info.Title = "SiteRecovery HTTP admin endpoint";
            return Task.CompletedTask;
        }));
        services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(ClusterMetrics.MeterName, "Microsoft.AspNetCore.Hosting", "System.Runtime").AddPrometheusExporter());
        ClusterMetrics.AddTo(services, settings);
        if (identity.Authority is not null) services.AddSingleton<FirstToken>().AddHostedService(provider => provider.GetRequiredService<FirstToken>());
        var app = builder.Build();
        AdminEndpoint.Map(app);
        return app;
    }
}
