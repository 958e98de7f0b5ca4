using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class NetworkMappingCommands
{
    public static readonly Resource NetworkMappings = new("network mapping", "network-mappings",
    [
        Column.Of("NAME", "name"), Column.Of("VAULT", "vault"),
        new("NETWORKS", m => Each(m, "networks", n => $"{n.At("source").Text()}->{Or(n.At("failover"), "none")}")),
        new("TEST", m => Each(m, "networks", n => Or(n.At("test"), "none"))),
        new("SUBNETS", m => Each(m, "subnets", s => $"{s.At("source").Text()}->{s.At("failover.subnet").Text()}")),
        new("CARDS", m => $"{(m.At("nics") as JsonArray)?.Count ?? 0}"),
    ]);

    public static Command Create() => new("network-mapping", "Network mappings: networks and addresses of replica machines, for test and for failover")
    {
        NetworkMappings.List(), NetworkMappings.ShowWithETag(), NetworkMappings.Delete(),
        NetworkMappings.Put(
            Setting.Of("--vault", "vault", "The pair of sites that it is for"),
            Setting.Each("--network", "networks", "Where the cards of a network go", "SOURCE=FAILOVER[,TEST]", Network),
            Setting.Each("--subnet", "subnets", "Where the addresses of a subnet go; the host part is kept", "OLD=NEW[,TEST]", Subnet)),
    };

    private static JsonObject? Network(string value) => Parts(value) is not var (source, failover, test) ? null
        : new JsonObject { ["source"] = source, ["failover"] = failover == "none" ? null : failover, ["test"] = test is "none" ? null : test };

    private static JsonObject? Subnet(string value) => Parts(value) is not var (source, failover, test) ? null
        : new JsonObject { ["source"] = source, ["failover"] = Target(failover), ["test"] = test is null ? null : Target(test) };

    private static JsonObject Target(string subnet) => new() { ["subnet"] = subnet };

    private static (string Source, string Failover, string? Test)? Parts(string value) => value.Split('=') is [{ Length: > 0 } source, { Length: > 0 } rest] ? rest.Split(',') switch
    {
        [var failover] => (source, failover, null),
        [var failover, { Length: > 0 } test] => (source, failover, test),
        _ => null,
    } : null;

    private static string Each(JsonNode mapping, string list, Func<JsonNode, string> text) => string.Join(' ', (mapping.At(list) as JsonArray ?? []).OfType<JsonNode>().Select(text));

    private static string Or(JsonNode? node, string none) => node is null ? none : node.Text();
}
