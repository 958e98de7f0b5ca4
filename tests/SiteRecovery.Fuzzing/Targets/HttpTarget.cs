using System.Net.Http.Headers;
using System.Text;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>The body of a request to a real node, from an administrator: any answer but that the fault is the node's own. The first byte says to which route.</summary>
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
        (HttpMethod.Post, "nodes/join", """{"token":"t","name":"n","site":"a"}"""),
        (HttpMethod.Post, "agents/join", """{"token":"t","name":"n"}"""),
        (HttpMethod.Post, "tokens", """{"name":"t","role":"viewer"}"""),
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
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 256L << 20; // of a whole node, and all that goes on in it
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("name", "source", "disks", "definition", "retention", "tiers", "networks", "acknowledge", "point", "site", "token", "window", "nics", "subnets")];

    internal override IEnumerable<byte[]> Seeds() => Routes.Select((route, i) => (byte[])[(byte)i, .. Encoding.UTF8.GetBytes(route.Body)]);

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var route = Routes[input[0] % Routes.Length];
        using var request = new HttpRequestMessage(route.Method, "/api/v1/" + route.Path) { Content = new ByteArrayContent(input, 1, input.Length - 1) };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/json");
        using var answer = _http.Send(request);
        // 501: not yet supported; 503: what it would ask is not there.
        if ((int)answer.StatusCode is >= 500 and not (501 or 503)) throw new InvalidOperationException($"{request.Method} {route.Path} answered {(int)answer.StatusCode}: {answer.Content.ReadAsStringAsync().GetAwaiter().GetResult()}");
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
