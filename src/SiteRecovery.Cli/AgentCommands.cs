using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class AgentCommands
{
    public static readonly Resource Agents = new("agent", "agents",
    [
        Column.Of("NAME", "name"), Column.Of("SITE", "site"), Column.Of("CONNECTED", "connected"),
        Column.Of("PROCESS-SERVER", "processServer"), new("JOINED", a => Forms.Time(a.At("joinedAt"))),
    ]);

    private static readonly Column[] HostMachineColumns =
    [
        Column.Of("NAME", "name"), Column.Of("STATE", "state"), Column.Of("CPUS", "cpuCount"), new("MEMORY", m => Forms.Bytes(m.At("memoryBytes"))), Column.Of("FIRMWARE", "firmware"),
        new("DISKS", m => string.Join(",", m.At("disks").Items().Select(d => d.At("target").Text()).DefaultIfEmpty("-"))), new("SIZE", m => Forms.Bytes((long)m.At("disks").Items().Sum(d => (double)(d.At("sizeBytes").Number() ?? 0)))),
        new("SOURCES", m => string.Join(",", m.At("disks").Items().Select(d => d.At("source").Text()).DefaultIfEmpty("-")), Wide: true),
        new("NICS", m => string.Join(",", m.At("definition.nics").Items().Select(n => n.At("network").Text()).DefaultIfEmpty("-")), Wide: true),
        new("CANNOT BE CAPTURED", NotProtectable),
    ];

    public static Command Create() => new("agent", "Unified Agents: what captures the disks of protected machines") { Agents.List(), Agents.Show(), Agents.JoinToken(), Machines() };

    private static Command Machines()
    {
        var agent = Agents.Name();
        var command = new Command("machines", "The machines that the hypervisor of the agent's host has, and whether they can be protected") { agent };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            session.Data.List(await session.Api.ListAsync($"{Agents.PathOf(session.Arguments.GetRequiredValue(agent))}/machines", cancel), HostMachineColumns);
            return ExitCode.Done;
        }));
        return command;
    }

    private static string NotProtectable(JsonNode machine)
    {
        string[] reasons = [.. machine.At("disks").Items().Where(d => d.At("problem") is not null).Select(d => $"{d.At("target").Text()}: {d.At("problem").Text()}"),
            .. machine.At("problem") is { } problem ? [problem.Text()] : (string[])[]];
        return reasons.Length == 0 ? "-" : string.Join("; ", reasons);
    }
}
