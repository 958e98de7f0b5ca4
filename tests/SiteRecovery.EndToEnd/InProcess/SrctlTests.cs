using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>One node for all tests of the class; each test uses names of its own.</summary>
public sealed class NodeForSrctl : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("siterecovery-srctl");
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(10)); // for all tests of the class, on a busy host
    private RunningNode? _node;

    internal CancellationToken Stop => _stop.Token;
    internal string Data => Path.Combine(_folder.FullName, "data");
    internal string ViewerToken => Path.Combine(_folder.FullName, "viewer.token");
    internal string Url => _node!.Endpoints.HttpUrl;
    internal string In(string name) => Path.Combine(_folder.FullName, name);

    /// <summary>A configuration folder that no other test uses.</summary>
    internal Srctl NewSrctl() => new(Directory.CreateDirectory(In(Guid.NewGuid().ToString("N"))).FullName, Stop);

    public async Task InitializeAsync()
    {
        var config = SettingsLoader.Installed().Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "configuration-server,process-server,master-target",
            ["siterecovery.ports.http"] = "0", ["siterecovery.ports.cluster"] = "0", ["siterecovery.ports.data"] = "0", ["siterecovery.ports.agent"] = "0",
        });
        _node = await RunningNode.StartAsync(NodeSettings.Of(config, Data), config, null, TimeProvider.System, Stop);
        var srctl = NewSrctl();
        while ((await srctl.RunAsync("node", "list", "--data", Data)).Out.Contains(" up ", StringComparison.Ordinal) is false) Stop.ThrowIfCancellationRequested();
        await File.WriteAllTextAsync(ViewerToken, (await srctl.DoneAsync("token", "make", "eve", "--role", "viewer", "--data", Data)).Out, Stop);
    }

    public async Task DisposeAsync()
    {
        if (_node is not null) await _node.DisposeAsync();
        _stop.Dispose();
        _folder.Delete(recursive: true);
    }
}

public sealed class SrctlTests(NodeForSrctl node) : IClassFixture<NodeForSrctl>
{
    private readonly Srctl _srctl = node.NewSrctl();

    [Fact]
    public async Task Resources_are_put_from_flags_and_files_shown_in_every_form_and_deleted()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("policy", "put", "gold", "--rpo-threshold", "15s", "--retention-window", "48h", "--retention-max-bytes", "20G", "--compression", "lz4");
        var gold = (await _srctl.DoneAsync("policy", "show", "gold", "-o", "json")).Json;
        Assert.Equal(("15s", "lz4", 20L << 30), ((string)gold["rpoThreshold"]!, (string)gold["compression"]!, (long)gold["retention"]!["maxBytes"]!));

        await _srctl.DoneAsync("policy", "put", "tiered", "--retention-window", "6h", "--retention-tier", "1h=24h", "--retention-tier", "1d=30d");
        Assert.Equal("""[{"every":"1h","keepFor":"1d"},{"every":"1d","keepFor":"30d"}]""", (await _srctl.DoneAsync("policy", "show", "tiered", "-o", "json")).Json["retention"]!["tiers"]!.ToJsonString());
        await _srctl.RefusedAsync(2, "policy", "put", "tiered", "--retention-tier", "1h");

        await File.WriteAllTextAsync(node.In("gold.json"), gold.ToJsonString(), node.Stop);
        await _srctl.DoneAsync("policy", "put", "gold", "--file", node.In("gold.json"), "--rpo-threshold", "20s");
        var again = (await _srctl.DoneAsync("policy", "show", "gold", "-o", "json")).Json;
        Assert.Equal(("20s", "lz4"), ((string)again["rpoThreshold"]!, (string)again["compression"]!));
        var yaml = (await _srctl.DoneAsync("policy", "show", "gold", "-o", "yaml")).Out;
        Assert.Contains("rpoThreshold: \"20s\"\n", yaml, StringComparison.Ordinal);
        Assert.Contains("\n  maxBytes: 21474836480\n", yaml, StringComparison.Ordinal);

        await _srctl.DoneAsync("vault", "put", "pair", "--source-site", "lab", "--target-site", "far");
        Assert.Matches(@"^NAME +SOURCE +TARGET\n(.*\n)*pair +lab +far\n", (await _srctl.DoneAsync("vault", "list")).Out);
        await _srctl.DoneAsync("cloud", "put", "rack", "--site", "lab", "--policy", "gold");
        await _srctl.DoneAsync("cloud", "delete", "rack", "--yes");
        await _srctl.RefusedAsync(10, "cloud", "show", "rack");
    }

    [Fact]
    public async Task A_put_changes_what_is_named_and_nothing_else()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("policy", "put", "long", "--rpo-threshold", "15s", "--retention-window", "48h", "--retention-max-bytes", "20G", "--retention-tier", "1d=30d", "--commit-after", "4h", "--stop-fenced-machine", "true");
        await _srctl.DoneAsync("policy", "put", "long", "--compression", "lz4");
        var kept = (await _srctl.DoneAsync("policy", "show", "long", "-o", "json")).Json;
        Assert.Equal(("15s", "2d", 20L << 30, "4h", true, "lz4"), ((string)kept["rpoThreshold"]!, (string)kept["retention"]!["window"]!, (long)kept["retention"]!["maxBytes"]!, (string)kept["commitAfter"]!, (bool)kept["stopFencedMachine"]!, (string)kept["compression"]!));
        await _srctl.DoneAsync("policy", "put", "long", "--retention-max-bytes", "none", "--retention-tier", "none", "--commit-after", "none");
        var less = (await _srctl.DoneAsync("policy", "show", "long", "-o", "json")).Json;
        Assert.Equal(("2d", null, null, null), ((string)less["retention"]!["window"]!, less["retention"]!["maxBytes"], less["retention"]!["tiers"], less["commitAfter"]));
        await _srctl.DoneAsync("policy", "put", "long", "--rpo-threshold", "15s", "--defaults");
        Assert.Equal("1d", (string)(await _srctl.DoneAsync("policy", "show", "long", "-o", "json")).Json["retention"]!["window"]!);
        Assert.Contains("whole number", (await _srctl.RefusedAsync(2, "policy", "put", "long", "--retention-max-bytes", "1.5G")).People, StringComparison.Ordinal);

        await _srctl.DoneAsync("vault", "put", "half", "--source-site", "lab", "--target-site", "far");
        await _srctl.DoneAsync("vault", "put", "half", "--target-site", "lab2");
        Assert.Equal("lab", (string)(await _srctl.DoneAsync("vault", "show", "half", "-o", "json")).Json["sourceSite"]!);
    }

    [Fact]
    public async Task A_network_mapping_is_put_by_flags_that_repeat()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("vault", "put", "nets", "--source-site", "lab", "--target-site", "far");
        await _srctl.DoneAsync("network-mapping", "put", "nets", "--vault", "nets", "--network", "bridge:lan=bridge:dr,bridge:bubble", "--network", "*=none",
            "--subnet", "10.0.0.0/24=10.9.0.0/24,10.99.0.0/24", "--subnet", "fd00:1::/64=fd00:9::/64");
        Assert.Matches(@"nets +nets +bridge:lan->bridge:dr \*->none +bridge:bubble none +10.0.0.0/24->10.9.0.0/24 fd00:1::/64->fd00:9::/64 +0\n", (await _srctl.DoneAsync("network-mapping", "list")).Out);
        var shown = (await _srctl.DoneAsync("network-mapping", "show", "nets", "-o", "json")).Json;
        Assert.Equal("10.99.0.0/24", (string)shown["subnets"]![0]!["test"]!["subnet"]!);
        await File.WriteAllTextAsync(node.In("nets.json"), shown.ToJsonString(), node.Stop);
        await _srctl.DoneAsync("network-mapping", "put", "nets", "--file", node.In("nets.json"), "--network", "user=user");
        Assert.Single((await _srctl.DoneAsync("network-mapping", "show", "nets", "-o", "json")).Json["networks"]!.AsArray());
        await _srctl.RefusedAsync(2, "network-mapping", "put", "nets", "--vault", "nets", "--subnet", "10.0.0.0/24");
        await _srctl.DoneAsync("network-mapping", "delete", "nets", "--yes");
    }

    [Fact]
    public async Task A_site_that_no_node_has_is_taken_and_said_to_be_so()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        var people = (await _srctl.DoneAsync("vault", "put", "misspelt", "--source-site", "lab", "--target-site", "lba")).People;
        Assert.Contains("'lba'", people, StringComparison.Ordinal);
        Assert.DoesNotContain("'lab'", people, StringComparison.Ordinal);
        Assert.Contains("'lba'", (await _srctl.DoneAsync("agent", "join-token", "--site", "lba")).People, StringComparison.Ordinal);
        Assert.DoesNotContain("note", (await _srctl.DoneAsync("agent", "join-token", "--site", "lab")).People, StringComparison.Ordinal);
        Assert.DoesNotContain("note", (await _srctl.DoneAsync("node", "join-token", "--site", "new")).People, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_put_with_an_old_etag_is_refused_and_changes_nothing()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("vault", "put", "etag", "--source-site", "a", "--target-site", "b");
        var tag = (await _srctl.DoneAsync("vault", "show", "etag", "--etag")).Out.Trim();
        await _srctl.DoneAsync("vault", "put", "etag", "--source-site", "a", "--target-site", "c", "--if-match", tag);
        await _srctl.RefusedAsync(1, "vault", "put", "etag", "--source-site", "a", "--target-site", "d", "--if-match", tag);
        Assert.Equal("c", (string)(await _srctl.DoneAsync("vault", "show", "etag", "-o", "json")).Json["targetSite"]!);
    }

    [Fact]
    public async Task Verbs_that_no_node_has_yet_are_in_no_help_and_name_another_way()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        foreach (var verb in (string[])["cancel", "retry", "resume"])
        {
            await _srctl.RefusedAsync(11, "job", verb, "db1.k1");
            Assert.DoesNotContain(verb, (await _srctl.DoneAsync("job", "--help")).Out, StringComparison.Ordinal);
        }
        await _srctl.RefusedAsync(11, "node", "drain", "n1");
        Assert.DoesNotContain("drain", (await _srctl.DoneAsync("node", "--help")).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_delete_that_nobody_confirms_is_refused_and_deletes_nothing()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("vault", "put", "kept", "--source-site", "a", "--target-site", "b");
        Assert.Contains("--yes", (await _srctl.RefusedAsync(2, "vault", "delete", "kept")).People, StringComparison.Ordinal);
        await _srctl.DoneAsync("vault", "show", "kept");
    }

    [Fact]
    public async Task Nodes_sites_and_join_tokens_go_to_stdout_as_data_and_nothing_else_does()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        var listed = (await _srctl.DoneAsync("node", "list", "-o", "json")).Json["items"]![0]!;
        foreach (var name in new[] { (string)listed["name"]!, ((string)listed["address"]!).Split('@')[1] })
            Assert.Equal("lab", (string)(await _srctl.DoneAsync("node", "show", name, "-o", "json")).Json["site"]!);
        Assert.Contains("lab", (await _srctl.DoneAsync("site", "show", "lab")).Out, StringComparison.Ordinal);
        Assert.Single((await _srctl.DoneAsync("status", "-o", "json")).Json["sites"]!.AsArray());
        var token = await _srctl.DoneAsync("agent", "join-token", "--site", "lab");
        Assert.Matches(@"^[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]{64}\n$", token.Out);
        Assert.Contains("until", token.People, StringComparison.Ordinal);
        Assert.Single((await _srctl.DoneAsync("audit", "list", "-o", "json", "--limit", "1")).Json["items"]!.AsArray());
    }

    [Fact]
    public async Task Every_kind_of_refusal_has_its_exit_code_and_a_remedy()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        Assert.Contains("srctl machine list", (await _srctl.RefusedAsync(10, "machine", "show", "nowhere")).People, StringComparison.Ordinal);
        Assert.Contains("'a/b'", (await _srctl.RefusedAsync(10, "machine", "show", "a/b")).People, StringComparison.Ordinal);
        Assert.DoesNotContain("replace", (await _srctl.DoneAsync("token", "make", "--help")).Out, StringComparison.Ordinal);
        await _srctl.RefusedAsync(10, "node", "show", "nowhere");
        await _srctl.RefusedAsync(10, "context", "use", "nowhere");
        Assert.Contains("5s to 15m", (await _srctl.RefusedAsync(2, "policy", "put", "bad", "--copy-frequency", "1s")).People, StringComparison.Ordinal);
        await _srctl.RefusedAsync(2, "site", "list", "--context", "none");
        await _srctl.RefusedAsync(13, "vault", "put", "v", "--source-site", "a", "--target-site", "b", "--token-file", node.ViewerToken);
        await File.WriteAllTextAsync(node.In("wrong.token"), "wrong", node.Stop);
        await _srctl.RefusedAsync(12, "site", "list", "--token-file", node.In("wrong.token"));
        Assert.Contains("first node's data directory", (await _srctl.RefusedAsync(2, "site", "list", "--token-file", node.In("missing.token"))).People, StringComparison.Ordinal);
        await _srctl.RefusedAsync(14, "site", "list", "--server", "https://127.0.0.1:1");
        Assert.Contains("--ca-file", (await _srctl.RefusedAsync(14, "site", "list", "--server", node.Url)).People, StringComparison.Ordinal);
        Assert.Contains("in the clear", (await _srctl.RefusedAsync(2, "site", "list", "--server", "http://192.0.2.1")).People, StringComparison.Ordinal);
        foreach (var wrong in new[] { "machine", "nonsense", "site list --nonsense", "site list -o xml", "vault put" })
        {
            var run = await _srctl.RunAsync(wrong.Split(' '));
            Assert.Equal((2, ""), (run.ExitCode, run.Out));
        }
    }

    [Fact]
    public async Task A_token_is_printed_once_opens_what_its_role_may_and_nothing_after_it_is_revoked()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        var made = await _srctl.DoneAsync("token", "make", "bob", "--role", "viewer");
        var file = node.In("bob.token");
        await File.WriteAllTextAsync(file, made.Out, node.Stop);
        await _srctl.DoneAsync("site", "list", "--token-file", file);
        await _srctl.RefusedAsync(13, "vault", "put", "v", "--source-site", "a", "--target-site", "b", "--token-file", file);
        var listed = await _srctl.DoneAsync("token", "list");
        Assert.Matches(@"(?m)^bob +viewer$", listed.Out);
        Assert.DoesNotContain(made.Out.Trim(), listed.Out, StringComparison.Ordinal);
        await _srctl.DoneAsync("token", "revoke", "bob", "--yes");
        await _srctl.RefusedAsync(12, "site", "list", "--token-file", file);
    }

    [Fact]
    public async Task A_context_gives_its_token_to_its_own_servers_only()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        var ca = Path.Combine(node.Data, "pki", "ca.crt");
        Assert.Contains("--token-file", (await _srctl.RefusedAsync(12, "site", "list", "--server", node.Url, "--ca-file", ca)).People, StringComparison.Ordinal);
        _srctl.Environment["SRCTL_TOKEN_FILE"] = Path.Combine(node.Data, "admin.token");
        await _srctl.DoneAsync("site", "list", "--server", node.Url, "--ca-file", ca);
        _srctl.Environment["SRCTL_SERVER"] = "https://127.0.0.1:1," + node.Url; // the first is down: the next is asked
        _srctl.Environment["SRCTL_CA_FILE"] = ca;
        await _srctl.DoneAsync("site", "list");
    }

    [Fact]
    public async Task Contexts_are_added_used_listed_and_removed()
    {
        await _srctl.DoneAsync("context", "add", "here", "--data", node.Data);
        await _srctl.DoneAsync("context", "add", "there", "--server", "https://there:8480", "--token-file", "t");
        var all = (await _srctl.DoneAsync("context", "list", "-o", "json")).Json["items"]!.AsArray();
        Assert.Equal([("here", true), ("there", false)], all.Select(c => ((string)c!["name"]!, (bool)c["current"]!)));
        await _srctl.DoneAsync("context", "use", "there");
        await _srctl.DoneAsync("site", "list", "--context", "here");
        await _srctl.DoneAsync("context", "remove", "there");
        Assert.Contains("no node is named", (await _srctl.RefusedAsync(2, "site", "list")).People, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Completion_offers_verbs_and_the_names_that_the_cluster_knows()
    {
        await _srctl.DoneAsync("context", "add", "lab", "--data", node.Data);
        await _srctl.DoneAsync("vault", "put", "tabbed", "--source-site", "a", "--target-site", "b");
        const string verb = "srctl machine unpl", name = "srctl vault show tab";
        Assert.Equal("unplanned-failover\n", (await _srctl.DoneAsync($"[suggest:{verb.Length}]", verb)).Out);
        Assert.Equal("tabbed\n", (await _srctl.DoneAsync($"[suggest:{name.Length}]", name)).Out);
        foreach (var shell in new[] { "bash", "zsh", "fish" }) Assert.Contains("[suggest:", (await _srctl.DoneAsync("completion", shell)).Out, StringComparison.Ordinal);
    }
}
