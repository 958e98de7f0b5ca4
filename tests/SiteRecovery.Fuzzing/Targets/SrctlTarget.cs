using System.CommandLine;
using System.CommandLine.Invocation;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SiteRecovery.Cli;
using SiteRecovery.Cli.Connection;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>Commands of srctl carried out: with an option's value, a file, the contexts or a node's folder as the input says, or answered by it, head and body.</summary>
internal sealed class SrctlTarget : ManyReadersTarget
{
    private const string Input = "{}", Good = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"1\"\r\n\r\n";
    private static readonly string[] Valued =
    [
        "policy put p --retention-tier {}", "policy put p --retention-max-bytes {}", "policy show {}", "machine protect m --vault v --agent a --disk {}", "machine pause m --no-wait --timeout {}",
        "network-mapping put m --network {}", "network-mapping put m --subnet {}", "recovery-point list m --from {}", "policy put p --if-match {}", "machine pause m --no-wait --idempotency-key {}",
    ];
    private static readonly string[] Asking =
    [
        "machine list -o wide", "machine show db1", "machine show db1 -o yaml", "machine show db1 -o json", "machine exports db1", "status", "overview", "overview -o json", "job list", "job show j1", "job watch j1 --timeout 20ms",
        "machine pause db1 --no-wait", "machine pause db1 --dry-run", "machine planned-failover db1 --yes --no-wait", "recovery-point list db1", "policy list", "policy show p --etag", "network-mapping list",
        "node list", "node show n", "agent list", "agent machines a1", "agent join-token --site s", "audit list", "site list", "token list", "vault show v", "cloud list",
    ];
    private static readonly string[] Answers =
    [
        """{"items":[{"name":"db1","state":"Protected","health":{"status":"warning","reasons":[{"severity":"warning","reason":"r","remedy":"m"}]},"rpo":"14677ms","lag":{"bytes":1234567,"time":"2s"},"activeSite":"a","newestPoint":{"id":"e1-s42","at":"2026-11-28T00:00:00Z"},"progress":{"bytesDone":5,"bytesTotal":10,"bytesPerSecond":3,"eta":"23s"},"disks":[{"index":0,"id":"vda","sizeBytes":1048576}],"steps":[{"name":"s","status":"done"}],"failover":{"subnet":"10.0.0.0/24"},"networks":[{"source":"br0"}],"retention":{"tiers":[{"every":"1h","keepFor":"7d"}]}}]}""",
        """{"name":"db1","id":"j1","code":"notAllowed","state":"Protected","status":"succeeded","startedAt":"2026-11-28T00:00:00Z","finishedAt":"2026-11-28T00:00:09Z","times":{"epochOpened":"1s","guestUp":"9s","guestUpBy":"firstWrite"},"warnings":[{"code":"machineStops","detail":"d"}],"allowedActions":[{"action":"pause","allowed":true},"resume"],"store":{"bytes":1,"points":2,"freeBytes":3,"limitAt":"2026-11-28T00:00:00Z"},"replication":{"agentConnected":true,"agentMode":"Streaming"},"exports":[{"disk":"vda","uri":"nbd://h"}],"token":"t","expiresAt":"2026-11-28T00:00:00Z"}""",
    ];
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");
    private readonly RootCommand _root = CommandTree.CreateRoot();
    private readonly TcpListener _node = new(IPAddress.Loopback, 0);
    private readonly string? _home = Environment.GetEnvironmentVariable(Home);
    private const string Home = "XDG_CONFIG_HOME";
    private volatile byte[] _answer = [];

    public SrctlTarget()
    {
        Environment.SetEnvironmentVariable(Home, _folder.FullName);
        Directory.CreateDirectory(Path.Combine(_folder.FullName, "siterecovery"));
        _node.Start();
        _ = ServeAsync();
        Readers =
        [
            .. Valued.Select(words => new Reader([.. new[] { "1h=24h", "500G", "30s", "vda=/d", "br0=br1,br2", "10.0.0.0/24=10.1.0.0/24" }.Select(Encoding.UTF8.GetBytes)], value => Carry(words, Encoding.UTF8.GetString(value), Encoding.UTF8.GetBytes(Good + Answers[1])))),
            .. new[] { "policy put p --file {}", "machine protect m --vault v --agent a --disk vda=/d --definition {} --no-wait" }
                .Select(words => new Reader([Encoding.UTF8.GetBytes(Answers[0]), "{\"name\":\"p\",\"rpoThreshold\":\"15s\"}"u8.ToArray()], file => Carry(words, Write("body.json", file), Encoding.UTF8.GetBytes(Good + Answers[1])))),
            new(["{\"current\":\"c\",\"contexts\":{\"c\":{\"servers\":[\"https://h:8480\"],\"tokenFile\":\"/t\",\"caFile\":null}}}"u8.ToArray()], file =>
            {
                Write("siterecovery/contexts.json", file);
                Contexts.Load().Find(null);
                Carry("context list", "", []);
            }),
            new(["{\"httpUrl\":\"https://h:8480\",\"address\":\"h\",\"http\":8480}"u8.ToArray()], file =>
            {
                Write("endpoints.json", file);
                ConnectionOptions.OfDataFolder(_folder.FullName);
            }),
            .. Asking.Select(words => new Reader([.. Answers.Select(a => Encoding.UTF8.GetBytes(Good + a)), "HTTP/1.1 202 Accepted\r\nLocation: /api/v1/jobs/j1\r\n\r\n{\"id\":\"j1\"}"u8.ToArray(),
                "HTTP/1.1 409 Conflict\r\n\r\n{\"code\":\"notAllowed\",\"detail\":\"d\",\"allowedActions\":[\"pause\"],\"warnings\":[\"w\"]}"u8.ToArray()], answer => Carry(words, "", answer))),
        ];
    }

    internal override string Name => "srctl-run";
    internal override bool IsText => true;
    internal override int InputBytesMax => 4 << 10;
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 32L << 20;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("items", "name", "progress", "rpo", "eta", "times", "nextCursor", "steps", "at", "bytesTotal", "sizeBytes", "servers"), .. new[] { "=", ",", "999999999999d", "9223372036854775807", "\"2026-11-28T00:00:00Z\"", "\r\n", "Location: ", "ETag: W/\"", "Transfer-Encoding: chunked\r\n", "HTTP/1.1 202 A\r\n" }.Select(Encoding.UTF8.GetBytes)];
    protected override IReadOnlyList<Reader> Readers { get; }

    /// <summary>What srctl says in a line or two; anything else it calls its own fault.</summary>
    internal override bool Expects(Exception refusal) => refusal is CommandProblem or IOException or UnauthorizedAccessException;

    private string Write(string name, byte[] content)
    {
        var path = Path.Combine(_folder.FullName, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    private void Carry(string words, string value, byte[] answer)
    {
        _answer = answer;
        var arguments = words.Split(' ').Select(w => w == Input ? value : w).Append("--server").Append($"http://{_node.LocalEndpoint}").ToArray();
        var parsed = CommandTree.Parse(_root, arguments);
        if (parsed.Errors.Count > 0) return;
        var (data, people) = (Console.Out, Console.Error);
        Console.SetOut(TextWriter.Null);
        Console.SetError(TextWriter.Null);
        try
        {
            parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false }).GetAwaiter().GetResult();
        }
        finally
        {
            Console.SetOut(data);
            Console.SetError(people);
        }
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true) _ = AnswerAsync(await _node.AcceptSocketAsync());
        }
        catch (Exception over) when (over is SocketException or ObjectDisposedException)
        {
            // Nobody asks any more.
        }
    }

    /// <summary>The same whatever is asked.</summary>
    private async Task AnswerAsync(Socket asked)
    {
        using var socket = asked;
        try
        {
            var buffer = new byte[16 << 10];
            var got = 0;
            for (int now; got < buffer.Length && (now = await socket.ReceiveAsync(buffer.AsMemory(got))) > 0;)
            {
                got += now;
                if (IsWhole(buffer.AsSpan(0, got))) break;
            }
            await socket.SendAsync(_answer);
            socket.Shutdown(SocketShutdown.Send);
            while (await socket.ReceiveAsync(buffer) > 0)
            {
                // More than was expected.
            }
        }
        catch (SocketException)
        {
            // It has heard enough.
        }
    }

    private static bool IsWhole(ReadOnlySpan<byte> request)
    {
        var end = request.IndexOf("\r\n\r\n"u8);
        if (end < 0) return false;
        var head = Encoding.ASCII.GetString(request[..end]);
        var at = head.IndexOf("Content-Length: ", StringComparison.OrdinalIgnoreCase);
        return at < 0 || request.Length - end - 4 >= int.Parse(head[(at + 16)..].Split('\r')[0], System.Globalization.CultureInfo.InvariantCulture);
    }

    public override void Dispose()
    {
        base.Dispose();
        _node.Dispose();
        Environment.SetEnvironmentVariable(Home, _home);
        _folder.Delete(recursive: true);
    }
}
