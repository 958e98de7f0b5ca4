using System.Net.Http.Headers;
using System.Text;
using Akka.Actor;
using Akka.Hosting;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>
/// The body of a request to a real node, from an administrator: any answer but that the fault is the node's own. The first byte says to which route; a line that begins with '?' is the query, and those
/// behind it are headers, up to an empty one.
/// </summary>
internal sealed class HttpTarget : FuzzTarget
{
    private static readonly (HttpMethod Method, string Path, string Body)[] Routes =
    [
        (HttpMethod.Put, "vaults/v", """{"sourceSite":"a","targetSite":"b"}"""),
        (HttpMethod.Put, "policies/p", """{"rpoThreshold":"15s","copyFrequency":"continuous","recoveryPoints":{"crashConsistentEvery":"2s"},"retention":{"window":"2m","maxBytes":2147483648,"tiers":[{"every":"1h","keepFor":"7d"}]},"compression":"lz4","resynchronization":{"window":"manual"},"commitAfter":"1h"}"""),
        (HttpMethod.Put, "clouds/c", """{"site":"a","policy":"default"}"""),
        (HttpMethod.Put, "network-mappings/m", """{"vault":"v","networks":[{"from":"bridge:br0","to":"bridge:br1"}],"subnets":[{"from":"10.0.0.0/24","to":"10.1.0.0/24","gateway":"10.1.0.1","dns":["10.1.0.2"]}],"nics":[{"machine":"db1","mac":"52:54:00:6d:90:02","addresses":["10.1.0.5/24"]}]}"""),
        (HttpMethod.Post, "machines", """{"name":"db1","vault":"v","policy":"default","source":{"agent":"agent-1","disks":[{"id":"vda","path":"/d","capture":"nbd"}]},"excludeDisks":["x"],"definition":{"name":"db1","memoryBytes":1073741824,"disks":[{"target":"vda","bus":"virtio"}],"nics":[]}}"""),
        (HttpMethod.Post, "machines/db1/unplanned-failover", """{"point":"latest","acknowledge":["machineStops"]}"""),
        (HttpMethod.Post, "machines/db1/planned-failover", """{"patience":"60s"}"""),
        (HttpMethod.Post, "machines/db1/recovery-points", """{"label":"before","kind":"crashConsistent"}"""),
        (HttpMethod.Post, "machines/db1/recovery-points/latest/protect", """{"keep":true}"""),
        (HttpMethod.Post, "nodes/join-tokens", """{"site":"a"}"""),
        (HttpMethod.Post, "agents/join-tokens", """{"site":"a"}"""),
        (HttpMethod.Post, "nodes/join", """{"token":"TOKEN","csr":"CSR","name":"n","site":"a","roles":["console"],"address":"10.0.0.1","clusterPort":4053}"""),
        (HttpMethod.Post, "agents/join", """{"token":"TOKEN","csr":"CSR","name":"n"}"""),
        (HttpMethod.Post, "tokens", """{"name":"t","role":"viewer"}"""),
        (HttpMethod.Post, "machines/db1/pause", "?dryRun=true\nIdempotency-Key: k1\n\n{}"),
        (HttpMethod.Post, "machines/db1/test-failover-cleanup", """{"test":"t1","notes":"n"}"""),
        (HttpMethod.Post, "machines/db1/reverse-replicate", """{"target":"n","full":true}"""),
        (HttpMethod.Put, "clouds/d", "?\nIf-Match: \"1\"\n\n{\"site\":\"a\",\"policy\":\"default\"}"),
        (HttpMethod.Get, "machines", "?limit=2&cursor=1\n\n"),
        (HttpMethod.Get, "machines/db1", "?\nAccept: application/json\n\n"),
        (HttpMethod.Get, "machines/db1/recovery-points", "?from=2026-11-28T00:00:00Z&to=2026-11-29T00:00:00Z&kind=crashConsistent&limit=5&cursor=2\n\n"),
        (HttpMethod.Get, "agents/agent-1/machines", "?limit=2&cursor=0\n\n"),
        (HttpMethod.Get, "jobs", "?machine=db1&status=running&limit=5\n\n"),
        (HttpMethod.Get, "jobs/db1~c1", "?wait=0s\n\n"),
        (HttpMethod.Get, "audit", "?limit=5\n\n"),
        (HttpMethod.Get, "nodes", "?limit=1\nAuthorization: Bearer t.u\n\n"),
        (HttpMethod.Delete, "machines/db1", "?dryRun=true&acknowledge=historyIsRemoved\n\n"),
    ];
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");
    private readonly RunningNode _node;
    private readonly HttpClient _http;

    public HttpTarget()
    {
        (_node, _http) = StartAsync().GetAwaiter().GetResult();
    }

    internal override string Name => "http";
    internal override int SelectorBytes => 1;
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 256L << 20; // of a whole node, and all that goes on in it
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("name", "source", "disks", "definition", "retention", "tiers", "networks", "acknowledge", "point", "site", "token", "window", "nics", "subnets", "csr", "address"), .. new[] { "?", "&", "=", "\n\n", "?dryRun=true\n\n", "limit=", "cursor=", "If-Match: ", "%00", "%", "-----BEGIN CERTIFICATE REQUEST-----\\n" }.Select(Encoding.UTF8.GetBytes)];

    /// <summary>With a token of the right form, which nobody has made: the request in it is read before the token is redeemed.</summary>
    internal override IEnumerable<byte[]> Seeds()
    {
        var (token, csr) = (DataPlane.Transport.JoinToken.Create(new string('a', 64)).ToString(), JoinRequest.Create("n").RequestPem.ReplaceLineEndings("\\n"));
        return Routes.Select((route, i) => (byte[])[(byte)i, .. Encoding.UTF8.GetBytes(route.Body.Replace("TOKEN", token, StringComparison.Ordinal).Replace("CSR", csr, StringComparison.Ordinal))]);
    }

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var route = Routes[input[0] % Routes.Length];
        var body = input[1..];
        string[] head = [];
        if (body is [(byte)'?', ..] && body.AsSpan().IndexOf("\n\n"u8) is var end and >= 0) (head, body) = (Encoding.ASCII.GetString(body.AsSpan(0, end)).Split('\n'), body[(end + 2)..]);
        using var request = new HttpRequestMessage(route.Method, "/api/v1/" + route.Path + (head is [var query, ..] ? Printable(query).Replace("#", "", StringComparison.Ordinal) : "")) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/json");
        foreach (var header in head.Skip(1))
            if (header.Split(':', 2) is [var name, var value] && !IsOfTheConnection(name)) request.Headers.TryAddWithoutValidation(name, Printable(value));
        if (route.Method == HttpMethod.Delete && !request.RequestUri!.OriginalString.Contains("?dryRun=true", StringComparison.Ordinal)) return; // the machine is needed
        using var answer = _http.Send(request);
        // 501: not yet supported; 503: what it would ask is not there.
        if ((int)answer.StatusCode is >= 500 and not (501 or 503)) throw new InvalidOperationException($"{request.Method} {route.Path} answered {(int)answer.StatusCode}: {answer.Content.ReadAsStringAsync().GetAwaiter().GetResult()}");
    }

    private static string Printable(string text) => string.Concat(text.Where(c => c is > ' ' and < (char)127));

    /// <summary>Another would be HTTP's own affair: Kestrel's, and whether the client sends it at all.</summary>
    private static bool IsOfTheConnection(string name) => name.Trim().ToUpperInvariant() is "HOST" or "CONNECTION" or "TRANSFER-ENCODING" or "EXPECT" or "UPGRADE" or "TE" or "TRAILER";

    /// <summary>So that what concerns a machine does not end at there being none.</summary>
    private static async Task ProtectAsync(RunningNode node, HttpClient http)
    {
        using var vault = new StringContent("""{"sourceSite":"far","targetSite":"lab"}""", Encoding.UTF8, "application/json");
        (await http.PutAsync("/api/v1/vaults/lab", vault)).EnsureSuccessStatusCode();
        var (actors, machine) = (ActorRegistry.For(node.Actors), new MachineId("db1"));
        await actors.Get<ConfigurationActor>().Ask<ConfigurationAccepted>(new ListMachine("fuzz", machine, "lab"), Patience);
        await actors.Get<ProtectedMachineActor>().Ask<Accepted>(new EnableProtection(machine, new CommandId("c1"), new AgentName("agent-1"), new SiteName("far"), new SiteName("lab"),
            [new DiskSpec(0, "vda", "/d", 1 << 20, "nbd")], "default", ReplicationPolicy.Default), Patience);
    }

    private async Task<(RunningNode, HttpClient)> StartAsync()
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "configuration-server,process-server,master-target", ["siterecovery.log.level"] = "error",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        var node = await RunningNode.StartAsync(NodeSettings.Of(config, _folder.FullName), config, null, TimeProvider.System, CancellationToken.None);
        var http = new HttpClient(PeerTrust.HttpHandler(PeerIdentity.Load(Path.Combine(_folder.FullName, "pki")).AuthorityCertificate)) { BaseAddress = new Uri(node.Endpoints.HttpUrl), Timeout = Patience };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (await File.ReadAllTextAsync(Path.Combine(_folder.FullName, "admin.token"))).Trim());
        using var ready = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!(await http.GetAsync("/healthz/ready")).IsSuccessStatusCode) await ready.WaitForNextTickAsync();
        await ProtectAsync(node, http);
        return (node, http);
    }

    public override void Dispose()
    {
        base.Dispose();
        _http.Dispose();
        _node.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _folder.Delete(recursive: true);
    }
}
