using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class AgentCommands
{
    public static readonly Resource Agents = new("agent", "agents",
    [
        Column.Of("NAME", "name"), Column.Of("SITE", "site"), Column.Of("CONNECTED", "connected"),
        Column.Of("PROCESS-SERVER", "processServer"), new("JOINED", a => Forms.Time(a.At("joinedAt"))),
    ]);

    public static Command Create() => new("agent", "Unified Agents: what captures the disks of protected machines") { Agents.List(), Agents.Show(), Agents.JoinToken() };
}
