using System.CommandLine;
using System.Globalization;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Hosting;

/// <summary><c>siterecovery node</c>: its options become the topmost layer of the settings.</summary>
public static class NodeCommand
{
    /// <summary>For leaving the cluster and flushing what is served.</summary>
    public static TimeSpan EndPatience { get; } = TimeSpan.FromSeconds(60);

    /// <summary>Exit code: another node of this one's name is up. Starting again would only make it two again.</summary>
    public const int NameTaken = 3;

    private static readonly Option<string> Data = new("--data") { Description = "The node's data directory", Required = true };
    private static readonly Option<string?> ConfigFile = new("--config") { Description = "HOCON file over the defaults" };
    private static readonly Option<string?> Join = new("--join") { Description = "URL of the cluster's first node, needed the first time and once the certificate has expired" };
    private static readonly Option<string?> TokenFile = new("--token-file") { Description = "File with the join token" };
    private static readonly Option<string?> Site = new("--site") { Description = "The site this node stands in" };
    private static readonly Option<string?> Roles = new("--roles") { Description = "Roles, separated by commas" };
    private static readonly Option<string?> Address = new("--address") { Description = "Address to bind and to tell the others: an IP address of this host, or a name that leads to one" };

    private static readonly (Option<int?> Option, string Key)[] Ports =
    [
        (new("--http-port") { Description = "Port of the HTTP admin endpoint, 0 for any" }, "siterecovery.ports.http"),
        (new("--cluster-port") { Description = "Port of the cluster, 0 for any" }, "siterecovery.ports.cluster"),
        (new("--data-port") { Description = "Port of the data channel, 0 for any" }, "siterecovery.ports.data"),
        (new("--agent-port") { Description = "Port for agents, 0 for any" }, "siterecovery.ports.agent"),
    ];

    public static Command Create()
    {
        var command = new Command("node", "Runs a node of the cluster until SIGTERM") { Data, ConfigFile, Join, TokenFile, Site, Roles, Address };
        foreach (var (option, _) in Ports) command.Add(option);
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult arguments, CancellationToken cancel)
    {
        NodeSettings? settings = null;
        var isUp = false;
        try
        {
            var overrides = new Dictionary<string, string>();
            Add("siterecovery.node.site", arguments.GetValue(Site));
            Add("siterecovery.node.roles", arguments.GetValue(Roles));
            Add("siterecovery.node.address", arguments.GetValue(Address));
            foreach (var (option, key) in Ports) Add(key, arguments.GetValue(option)?.ToString(CultureInfo.InvariantCulture));
            var environment = Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>()
                .ToDictionary(e => (string)e.Key, e => (string?)e.Value ?? "");
            var config = SettingsLoader.Installed().Load(arguments.GetValue(ConfigFile), environment, overrides);
            settings = NodeSettings.Of(config, arguments.GetValue(Data)!);
            var join = arguments.GetValue(Join) is { } url
                ? new JoinOrder(url, arguments.GetValue(TokenFile)) : null;
            await using var node = await RunningNode.StartAsync(settings, config, join, TimeProvider.System, cancel);
            isUp = true;
            if (await node.WaitAsync() is not { } why) return 0;
            await Console.Error.WriteLineAsync(why);
            return NameTaken;

            void Add(string key, string? value)
            {
                if (value is not null) overrides[key] = value;
            }
        }
        catch (SettingsException e)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return 2;
        }
        // Whatever it is: a sentence says more to an operator than a stack, which is for who asks for it.
        catch (Exception broken) when (!cancel.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync($"the node cannot {(isUp ? "go on" : "start")}: {SentenceOf(broken)}. Mend what it names: a port in use, a data directory that cannot be written, or a damaged file.");
            if (settings?.LogLevel is "debug" or "trace") await Console.Error.WriteLineAsync(broken.ToString());
            return 1;
        }
    }

    /// <summary>What went wrong and why, as far down as anybody says more.</summary>
    private static string SentenceOf(Exception broken)
    {
        var said = new List<string>();
        for (var at = broken; at is not null; at = at.InnerException)
            if (at is not AggregateException && !said.Exists(s => s.Contains(at.Message, StringComparison.Ordinal))) said.Add(at.Message.ReplaceLineEndings(" ").TrimEnd('.', ' '));
        // Those that we throw ourselves have said all of it.
        return broken is IOException ? said[0] : string.Join(": ", said);
    }
}
