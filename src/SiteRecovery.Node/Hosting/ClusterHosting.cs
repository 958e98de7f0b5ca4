using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Cluster.Hosting;
using Akka.Configuration;
using Akka.Event;
using Akka.Hosting;
using Akka.Persistence.Sql;
using Akka.Persistence.Sql.Config;
using Akka.Remote.Transport.DotNetty;
using LinqToDB;
using Microsoft.Data.Sqlite;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary>The node's actor system: mutual TLS between nodes, the split-brain resolver, and the journal.</summary>
public static class ClusterHosting
{
    public const string SystemName = "siterecovery";

    /// <summary>16 MiB: several times the largest answer at the largest size that is planned for.</summary>
    public const int FrameBytesMax = 16 << 20;

    public static string AddressOf(string host, int port) => $"akka.ssl.tcp://{SystemName}@{host}:{port}";

    public static void AddCluster(
        this IServiceCollection services, NodeSettings settings, NodePorts ports, NodeIdentity identity, IReadOnlyList<string> seeds, Config hocon, string sqliteFile,
        Action<AkkaConfigurationBuilder> actors)
    {
        services.AddAkka(SystemName, (builder, provider) =>
        {
            var persistence = Persistence(settings, sqliteFile, provider.GetRequiredService<ILoggerFactory>());
            builder.AddHocon(Own(settings, ports, seeds).WithFallback(persistence.Hocon).WithFallback(hocon).WithFallback(SqlPersistence.DefaultConfiguration), HoconAddMode.Prepend);
            builder.AddSetup(Tls(identity.Peer));
            if (persistence.Setup is { } setup) builder.AddSetup(setup);
            builder.WithClustering(new ClusterOptions());
            builder.ConfigureLoggers(loggers =>
            {
                loggers.ClearLoggers();
                loggers.AddLoggerFactory();
            });
            actors(builder);
        });
    }

    private static Config Own(NodeSettings settings, NodePorts ports, IReadOnlyList<string> seeds) => ConfigurationFactory.ParseString($$"""
        akka {
          loglevel = INFO
          coordinated-shutdown.exit-clr = off
          {{HeldShutdown.Hocon}}
          # A first node that comes back begins a cluster of its own when it hears from nobody for 5 s: those that just found it gone must not be silent for as long.
          remote.retry-gate-closed-for = 1s
          remote.dot-netty.tcp {
            # What is larger is dropped, and whoever asked waits in vain: see FrameSizeTests for how large answers are. Blocks of disks never come this way.
            maximum-frame-size = {{FrameBytesMax}}b
            enable-ssl = true
            hostname = {{SettingsLoader.Quoted(settings.Address)}}
            public-hostname = {{SettingsLoader.Quoted(settings.Advertised.Address)}}
            port = {{ports.Cluster}}
            public-port = {{settings.Advertised.Ports.Or(ports).Cluster}}
            # It would be SO_REUSEPORT as well: another node could listen beside this one, and each had half of what is said to either. That a port can be had again at once after a kill, .NET sees to itself.
            tcp-reuse-addr = off
            # Of others that are known by a name: where this node has an address of version 6.
            dns-use-ipv6 = {{(settings.Address.StartsWith('[') ? "on" : "off")}}
          }
          cluster {
            roles = [{{string.Join(", ", settings.Roles.Append($"site-{settings.Site}").Select(SettingsLoader.Quoted))}}]
            seed-nodes = [{{string.Join(", ", seeds.Select(SettingsLoader.Quoted))}}]
            # The first try of a node that comes back only removes what is left of it.
            retry-unsuccessful-join-after = 2s
            # The others may keep an association with the process that was here before; a new actor system (see ClusterHost) breaks it.
            shutdown-after-unsuccessful-join-seed-nodes = 30s
            failure-detector.acceptable-heartbeat-pause = {{settings.HeartbeatPause.TotalMilliseconds}}ms
            # At each start it complains after a second that it has found none for 30; whoever asks a node without a configuration server is told so.
            singleton-proxy.log-singleton-identification-failure = off
            downing-provider-class = "Akka.Cluster.SBR.SplitBrainResolverProvider, Akka.Cluster"
            split-brain-resolver {
              active-strategy = keep-majority
              stable-after = {{settings.StableAfter.TotalMilliseconds}}ms
              keep-majority.role = configuration-server
            }
          }
        }
        """);

    // Only a certificate of the cluster's own authority that names a node speaks to the cluster; agents have no business here.
    private static DotNettySslSetup Tls(PeerIdentity peer)
    {
        var trusted = PeerTrust.InAuthority(peer.AuthorityCertificate, PeerRole.Node);
        return new DotNettySslSetup(peer.Certificate, suppressValidation: false, requireMutualAuthentication: true,
            customValidator: (certificate, _, _, _, log) =>
            {
                var good = certificate is not null && trusted(peer, certificate, null, System.Net.Security.SslPolicyErrors.None);
                if (!good) log.Warning("refused a cluster connection of {0}: its certificate{1} is none of this cluster's nodes, or not good today", certificate?.Subject ?? "a peer without certificate", certificate is null ? "" : $", which ends on {CertificateOutOfTimeException.Day(certificate.NotAfter)},");
                return good;
            });
    }

    private static (Config Hocon, Setup? Setup) Persistence(NodeSettings settings, string sqliteFile, ILoggerFactory loggers)
    {
        if (settings.PersistenceProvider != NodeSettings.Sqlite)
            return (Connection(File.ReadAllText(settings.ConnectionStringFile).Trim()), null);
        var connection = new SqliteConnectionStringBuilder { DataSource = sqliteFile, DefaultTimeout = 30 }.ToString();
        var log = loggers.CreateLogger("persistence");
        try
        {
            SqlitePragmas.UseWriteAheadLog(connection);
            log.LogInformation("the journal is {File}", sqliteFile);
        }
        // A node of other roles has no use for it, and what this one serves and sends has none either.
        catch (SqliteException unopened)
        {
            log.LogError("the journal {File} cannot be opened: {Reason}; until it can, no machine of this configuration server is managed", sqliteFile, unopened.Message);
        }
        var options = new DataOptions().UseConnectionString("SQLite.MS", connection).UseInterceptor(new SqlitePragmas());
        return (Connection(connection), new DataOptionsSetup(options));
    }

    private static Config Connection(string text)
    {
        var quoted = "\"" + text.Replace("\\", "\\\\").Replace("\"", "\\\"") + "\"";
        return ConfigurationFactory.ParseString($$"""
            akka.persistence {
              journal.sql.connection-string = {{quoted}}
              query.journal.sql.connection-string = {{quoted}}
              snapshot-store.sql.connection-string = {{quoted}}
            }
            """);
    }
}
