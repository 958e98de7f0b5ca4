using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class AgentCommands
{
    public static readonly Resource Agents = new("agent", "agents",
    [
        Column.Of("NAME", "name"), Column.Of("SITE", "site"), new("CONNECTED", a => a.At("connected").Text()),
        new("JOINED", a => Forms.Time(a.At("joinedAt"))), new("DISKS", Disks, Wide: true),
    ]);

    public static Command Create() => new("agent", "Unified Agents: what captures the disks of protected machines") { Agents.List(), Agents.Show(), Agents.JoinToken() };

    private static string Disks(JsonNode agent) => agent.At("disks").Items() is { Count: > 0 } disks
        ? string.Join(",", disks.Select(d => $"{(d.At("id") ?? d.At("name") ?? d.At("path")).Text()}({Forms.Bytes(d.At("sizeBytes"))})")) : "-";
}
