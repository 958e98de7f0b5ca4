using Akka.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Node.Settings;

public sealed record NodePorts(int Http, int Cluster, int Data, int Agent)
{
    /// <summary>These, and where one is 0 that of the others.</summary>
    public NodePorts Or(NodePorts others) => new(One(Http, others.Http), One(Cluster, others.Cluster), One(Data, others.Data), One(Agent, others.Agent));

    private static int One(int port, int other) => port != 0 ? port : other;
}

/// <summary>Where the others reach the node; a port of 0 is the one that is bound.</summary>
public sealed record AdvertisedAddress(string Address, NodePorts Ports);

/// <summary>Where a master target runs the machines of its replicas.</summary>
public sealed record HypervisorSettings(string Uri, string FailoverNetwork, string QemuAccelerators, BootFolders Boot)
{
    /// <summary>Null: replicas are disks alone.</summary>
    /// <param name="folder">For what this node keeps of machines that it runs itself.</param>
    public ReplicaHosting? Open(string folder, IFileSystem files, TimeProvider time) => Uri switch
    {
        "" or "none" => null,
        "qemu" => new(new QemuHypervisor(folder, new QemuOptions { Accelerators = QemuAccelerators, Says = Console.Error.WriteLine }, files, time), Network) { Boot = Boot },
        _ => new(new LibvirtHypervisor(Uri, time), Network) { Boot = Boot },
    };

    private string? Network => FailoverNetwork.Length == 0 ? null : FailoverNetwork;
}

/// <summary>What a master target wraps the keys of encrypted stores with.</summary>
public sealed record StoreKeySettings(string File, string Command, IReadOnlyList<string> FormerFiles, TimeSpan RenewAfter)
{
    /// <summary>What every user of this host could unlock the stores with; one line for each file.</summary>
    public IEnumerable<string> ReadableByAll() => FormerFiles.Prepend(File)
        .Where(path => path.Length > 0 && new FileInfo(path) is { Exists: true } file && file.UnixFileMode.HasFlag(UnixFileMode.OtherRead))
        .Select(path => $"every user of this host can read {path}, which opens all encrypted stores: chown it to root and this node's group, and chmod it 0440");

    public KeyWrappings Open(IFileSystem files) => new(
        Command.Length > 0 ? new KeyCommand(Command) : File.Length > 0 ? new KeyFile(File, files) : null,
        // A file beside a command is what was there before it.
        [.. FormerFiles.Concat(Command.Length > 0 && File.Length > 0 ? [File] : []).Select(path => new KeyFile(path, files))], RenewAfter);
}

/// <summary>The settings of one node, typed and validated once at start.</summary>
/// <param name="Address">To bind: an IP address or a name of this host.</param>
/// <param name="DataFolder">Everything the node keeps lies below it.</param>
/// <param name="SocketGroup">Who may open replicas' disks beside the node's user; empty: nobody.</param>
public sealed record NodeSettings(
    string Name, string Site, IReadOnlyList<string> Roles, string Address, string DataFolder, NodePorts Ports, AdvertisedAddress Advertised,
    long BodyBytesMax, int ConnectionsMax, TimeSpan WaitMax, int ListItemsMax, TimeSpan AskTimeout,
    TimeSpan StableAfter, TimeSpan HeartbeatPause, string PersistenceProvider, string ConnectionStringFile,
    TimeSpan JoinTokenValidity, string LogLevel, long SpoolBytesMax, HypervisorSettings Hypervisor, StoreKeySettings StoreKeys, TimeSpan ScrubPause, string SocketGroup)
{
    public const string Sqlite = "sqlite";

    /// <summary>Two configuration servers, each with a journal of its own, would know two truths of the same machines.</summary>
    public const string JournalNotShared = "A second configuration server needs the first one's journal, and siterecovery.persistence.provider is sqlite: a file that only its own node has.";
    public const string ShareTheJournal = "Start the node without the role configuration-server; or let both use one database, with siterecovery.persistence.provider = postgresql or sqlserver.";

    internal const string AddressKey = "siterecovery.node.address", AdvertisedKey = "siterecovery.advertised.address";

    public bool Is(string role) => Roles.Contains(role);

    public static NodeSettings Of(Config config, string dataFolder)
    {
        var root = config.GetConfig(SettingCatalogue.Root);
        var site = root.GetString("node.site");
        var roles = root.GetStringList("node.roles").Distinct().ToArray();
        if (site is not { Length: >= 1 and <= 63 } || !site.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-'))
            throw new SettingsException("A node needs a site of 1 to 63 characters a-z, 0-9 and '-': give --site SITE or set siterecovery.node.site.");
        if (roles.Length == 0)
            throw new SettingsException($"A node needs at least one role of {string.Join(", ", SettingCatalogue.Roles)}: give --roles or set siterecovery.node.roles.");
        var name = root.GetString("node.name");
        var provider = root.GetString("persistence.provider");
        var connection = root.GetString("persistence.connection-string-file") ?? "";
        if (provider != Sqlite && connection.Length == 0)
            throw new SettingsException($"siterecovery.persistence.provider is {provider}: name the file with its connection string in siterecovery.persistence.connection-string-file.");
        return new NodeSettings(
            string.IsNullOrEmpty(name) ? $"{Environment.MachineName.ToLowerInvariant()}-{site}" : name,
            site, roles, HostAddress.Of(root.GetString("node.address"), AddressKey), Path.GetFullPath(dataFolder),
            new NodePorts(root.GetInt("ports.http"), root.GetInt("ports.cluster"), root.GetInt("ports.data"), root.GetInt("ports.agent")),
            AdvertisedOf(root),
            (long)SettingValues.Size(root.GetString("http.body-bytes-max"))!, root.GetInt("http.connections-max"),
            Seconds(root, "http.wait-max"), root.GetInt("http.list-items-max"), Seconds(root, "http.ask-timeout"),
            Seconds(root, "cluster.stable-after"), Seconds(root, "cluster.heartbeat-pause"), provider, connection,
            Seconds(root, "pki.join-token-validity"), root.GetString("log.level"), (long)SettingValues.Size(root.GetString("process-server.spool-bytes-max"))!,
            new HypervisorSettings(root.GetString("hypervisor.uri"), root.GetString("hypervisor.failover-network"), root.GetString("hypervisor.qemu-accelerators"), BootFoldersOf(root)),
            new StoreKeySettings(root.GetString("master-target.store-key-file") ?? "", root.GetString("master-target.store-key-command") ?? "", [.. root.GetStringList("master-target.former-store-key-files")], Seconds(root, "master-target.store-key-renew-after")),
            Seconds(root, "master-target.scrub-pause"), root.GetString("master-target.socket-group") ?? "");
    }

    private static BootFolders BootFoldersOf(Config root)
    {
        string[] folders = [.. root.GetStringList("hypervisor.boot-folders")];
        return folders.FirstOrDefault(f => !f.StartsWith('/') || Path.GetFullPath(f) != f || (f.EndsWith('/') && f.Length > 1)) is { } odd
            ? throw new SettingsException($"{BootFolders.Setting} has '{odd}': give the full paths of folders, such as /srv/kernels, without a '/' at the end.")
            : new(folders);
    }

    private static AdvertisedAddress AdvertisedOf(Config root) => new(
        root.GetString("advertised.address") is { Length: > 0 } address ? HostAddress.ToReach(address, AdvertisedKey) : HostAddress.ToReach(root.GetString("node.address"), AddressKey),
        new NodePorts(root.GetInt("advertised.http-port"), root.GetInt("advertised.cluster-port"), root.GetInt("advertised.data-port"), root.GetInt("advertised.agent-port")));

    private static TimeSpan Seconds(Config root, string key) => TimeSpan.FromSeconds(SettingValues.Duration(root.GetString(key))!.Value);
}
