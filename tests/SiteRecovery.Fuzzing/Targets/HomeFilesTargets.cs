using System.Text;
using System.Text.Json;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Networks;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>What a node keeps in its folder, what lets it into a cluster, and what its process server and its master target keep and are sent.</summary>
internal sealed class NodeFilesTarget : ManyReadersTarget
{
    private static readonly MachineId Machine = new("db1");
    private static readonly string Boot = "6f1b0000-0000-0000-0000-000000000001";
    private readonly DirectoryInfo _path = Directory.CreateTempSubdirectory("sr-fuzz-");
    private readonly DataFolder _folder;

    public NodeFilesTarget()
    {
        _folder = new DataFolder(_path.FullName);
        using (var authority = Authority.Create(_folder.In("pki"), "fuzz", TimeProvider.System)) authority.IssueInto(_folder.In("pki"), "n1", PeerRole.Node).Dispose();
        var certificate = File.ReadAllBytes(_folder.In("pki", "node.crt"));
        byte[] membership = [.. """{"seedNodes":["akka.ssl.tcp://siterecovery@n1:4053"],"configurationServer":"https://n1:8480"}"""u8];
        _folder.Write(new NodeEndpoints("https://n1:8480", "n1", 8480, 1, 2, 3));
        Readers =
        [
            new([membership], bytes => Joined("cluster.json", bytes, membership)),
            new([certificate], bytes => Joined(Path.Combine("pki", "node.crt"), bytes, certificate)),
            new([Encoding.UTF8.GetBytes($$"""{"certificate":"c","authority":"a","seedNodes":["akka.ssl.tcp://siterecovery@n1:4053"],"configurationServer":"https://n1:8480"}""")], bytes => _ = NodeJoined.Read(bytes).SeedNodes.Count),
            new(["[\"akka.ssl.tcp://siterecovery@n1:4053\",\"akka.ssl.tcp://siterecovery@n2:4053\"]"u8.ToArray()], Members),
            new([File.ReadAllBytes(_folder.In("endpoints.json"))], Endpoints),
            new([Routes()], ReadRoutes),
            new([Served()], ReadServed),
            new([Plan()], ReadPlan),
            new(["<capabilities><guest><os_type>hvm</os_type><arch name='x86_64'><domain type='kvm'/><machine>pc</machine></arch></guest></capabilities>"u8.ToArray()], text => LibvirtHost.For(Encoding.UTF8.GetString(text), "x86_64", null)),
        ];
    }

    internal override string Name => "node-files";
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override long AllocatedMax(int inputBytes) => (4L << 20) + 64L * inputBytes;
    protected override IReadOnlyList<Reader> Readers { get; }
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("seedNodes", "agent", "targetPort", "order", "machine", "networks", "subnets", "nics", "to", "from", "addresses", "gateways", "http"), .. new[] { "akka.ssl.tcp://", "@", ":", "\\u0000", "\\\"", "99999", "<guest>", "<arch name='x86_64'>" }.Select(Encoding.UTF8.GetBytes)];

    /// <summary>A plan that is none its reader says so by JSON's exception, and a host that is none by the hypervisor's.</summary>
    internal override bool Expects(Exception refusal) => refusal is SettingsException or JsonException or HypervisorException;

    internal override void Repair(byte[] input, Random random)
    {
        if (input.Length == 0 || input[0] % Readers.Count != 6) return;
        var file = input[1..];
        Checksums.File("db1.json", file);
        file.CopyTo(input, 1);
    }

    private void Joined(string name, byte[] bytes, byte[] good)
    {
        File.WriteAllBytes(_folder.In("cluster.json"), """{"seedNodes":[],"configurationServer":"c"}"""u8.ToArray());
        File.WriteAllBytes(_folder.In(name), bytes);
        try
        {
            if (NodeIdentity.Joined(_folder) is not { } joined) return;
            joined.Peer.Dispose();
            foreach (var seed in joined.SeedNodes) MustBeAddress(seed);
        }
        finally
        {
            File.WriteAllBytes(_folder.In(name), good);
        }
    }

    private void Members(byte[] bytes)
    {
        File.WriteAllBytes(_folder.In("members.json"), bytes);
        foreach (var seed in SeedKeeper.Read(_folder)) MustBeAddress(seed);
    }

    /// <summary>It becomes a part of the actor system's configuration.</summary>
    private static void MustBeAddress(string seed)
    {
        if (!Akka.Actor.ActorPath.TryParseAddress(seed, out _) || seed.Contains('"', StringComparison.Ordinal)) throw new InvalidOperationException($"'{seed}' is no address, and was taken for one");
    }

    private void Endpoints(byte[] bytes)
    {
        File.WriteAllBytes(_folder.In("endpoints.json"), bytes);
        new HeldPorts(new NodePorts(0, 0, 0, 0), "127.0.0.1", _folder.ReadEndpoints()).Dispose();
    }

    private static byte[] Routes()
    {
        var files = new MemoryFiles();
        new MachineRoutes("/routes.json", files).Set(Machine, new MachineRoute("a1", "zstd", "10.0.0.1", 7000));
        return files["/routes.json"];
    }

    private static void ReadRoutes(byte[] bytes)
    {
        var routes = new MachineRoutes("/routes.json", new MemoryFiles { ["/routes.json"] = bytes });
        var opening = new StreamOpening(Machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);
        routes.Authorise(new Peer("a1", PeerRole.Agent), opening);
        routes.CompressionOf(opening);
        if (routes.Find(Machine) is { TargetHost: { } host } route) _ = new System.Net.DnsEndPoint(host, route.TargetPort);
        routes.Set(Machine, new MachineRoute("a2", "none", null, 0));
        routes.Remove(Machine, Epoch.First);
    }

    private static MemoryFiles Host() => new() { ["/proc/sys/kernel/random/boot_id"] = Encoding.ASCII.GetBytes(Boot) };

    private static byte[] Served()
    {
        var files = Host();
        var point = new RecoveryPoint(Epoch.First, new Sequence(7), DateTimeOffset.UnixEpoch, PointKind.CrashConsistent, null);
        new ServedReplicas("/served", files).Keep(new ServeReplica(Machine, new Epoch(2), point, new SiteName("s"), "n1", new Epoch(2), ReplicationPolicy.Default, Encoding.UTF8.GetString(Plan())));
        return files["/served/db1.json"];
    }

    private static void ReadServed(byte[] bytes)
    {
        var files = Host();
        files["/served/db1.json"] = bytes;
        var served = new ServedReplicas("/served", files);
        foreach (var machine in served.Machines())
        {
            if (served.OrderOf(machine) is not { } order) continue;
            // What a master target goes by.
            _ = (order.Point.Epoch, order.Point.Kind, order.Policy.RetentionWindow, order.TargetSite.ToString());
            served.Keep(order);
        }
        served.Forget(Machine);
    }

    private static byte[] Plan()
    {
        var own = new CardConfiguration(["10.0.0.5/24"], ["10.0.0.1"], ["10.0.0.2"]);
        return Encoding.UTF8.GetBytes(new NetworkPlan([new("br0", "br1"), new("*", null)], [new("10.0.0.0/24", new SubnetTarget("10.1.0.0/24", "10.1.0.1", ["10.1.0.2"])), new("fd00::/64", new SubnetTarget("fd01::/64"))],
            [new("52:54:00:6d:90:02", null, own, "ens3"), new("1", own, null, null)], Home: false, Test: false).ToJson());
    }

    private static void ReadPlan(byte[] bytes)
    {
        var plan = NetworkPlan.FromJson(Encoding.UTF8.GetString(bytes));
        foreach (var network in (string[])["br0", "br7"]) plan.NetworkOf(network);
        var own = new CardConfiguration(["10.0.0.5/24", "fd00::5/64"], ["10.0.0.1"], ["10.0.0.2"]);
        for (var place = 0; place < 3; place++) plan.CardOf(place, "52:54:00:6D:90:02", place == 2 ? new CardConfiguration() : own);
    }

    public override void Dispose()
    {
        base.Dispose();
        _folder.Dispose();
        _path.Delete(recursive: true);
    }
}

/// <summary>What an agent keeps in its folder, and what a configuration server answers it.</summary>
internal sealed class AgentFilesTarget : ManyReadersTarget
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");

    public AgentFilesTarget()
    {
        var disk = Path.Combine(_folder.FullName, "d");
        File.WriteAllBytes(disk, new byte[4096]);
        const string home = """{"name":"a1","site":"s","processServers":[{"host":"10.0.0.1","port":7001}],"configurationServers":["https://n1:8480"]}""";
        using var authority = Authority.Create(Path.Combine(_folder.FullName, "pki"), "fuzz", TimeProvider.System);
        var join = JoinRequest.Create("a1");
        var answer = JsonSerializer.SerializeToUtf8Bytes(new AgentJoinAnswer(authority.Sign(join.RequestPem, "a1", PeerRole.Agent), authority.CertificatePem, AgentHome.Read(Encoding.UTF8.GetBytes(home))), JsonSerializerOptions.Web);
        Readers =
        [
            new([Encoding.UTF8.GetBytes($$"""[{"ExportName":"db1-vda","Path":"{{disk}}"},{"ExportName":"db1-vdb","Path":"{{disk}}x"}]""")], Released),
            new([Encoding.UTF8.GetBytes(home)], bytes => Use(AgentHome.Read(bytes))),
            new([answer], bytes => Use(AgentJoinAnswer.Read(bytes).Home)),
            new([AgentProtocol.Encode(new ProtectMachine { Id = "c5", Machine = "db1", Epoch = 1, Disks = [new DiskAssignment(0, "vda", "/d", 1 << 20)], Stale = [0, 0, 4096] })], Assigned),
        ];
    }

    internal override string Name => "agent-files";
    internal override bool IsText => true;
    internal override int InputBytesMax => 4 << 10;
    protected override IReadOnlyList<Reader> Readers { get; }
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("name", "site", "processServers", "configurationServers", "host", "port", "ExportName", "Path", "home", "machine", "disks"), .. new[] { "https://", "ftp://h", "99999", "\\u0000", "{\"host\":null}," }.Select(Encoding.UTF8.GetBytes)];
    internal override bool Expects(Exception refusal) => refusal is JsonException;

    private void Released(byte[] bytes)
    {
        var file = Path.Combine(_folder.FullName, "released.json");
        File.WriteAllBytes(file, bytes);
        var exports = new NbdExports();
        var nbd = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        var released = new ReleasedDisks(new AgentHost(_folder.FullName, "nbd.sock", RealFileSystem.Instance, TimeProvider.System, exports, nbd, new ChannelClient(_ => throw new IOException("nobody is there"), new ChannelOptions())) { Log = TextWriter.Null });
        try
        {
            released.Resume(_ => false);
        }
        finally
        {
            released.DisposeAsync().AsTask().GetAwaiter().GetResult();
            nbd.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>As one does who connects to all of them.</summary>
    private static void Use(AgentHome home)
    {
        _ = home.Name.Length + home.Site.Length;
        foreach (var server in home.ProcessServers) _ = new System.Net.DnsEndPoint(server.Host, server.Port);
        foreach (var url in home.ConfigurationServers)
            if (new Uri(new Uri(url), "/api/v1/agents/home").Scheme is not ("https" or "http")) throw new InvalidOperationException($"'{url}' cannot be asked");
    }

    private void Assigned(byte[] bytes)
    {
        File.WriteAllBytes(Path.Combine(_folder.FullName, "assignment.json"), bytes);
        if (new MachineFolder(_folder.FullName, RealFileSystem.Instance).TryKept() is { } kept) _ = kept.Machine.Length + kept.Disks.Sum(d => d.Path.Length);
    }

    public override void Dispose()
    {
        base.Dispose();
        _folder.Delete(recursive: true);
    }
}
