using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary><c>srctl machine protect</c>.</summary>
internal static class ProtectCommand
{
    private static readonly Option<string> Vault = new("--vault") { Description = "The pair of sites", Required = true, CompletionSources = { c => NamesForCompletion.Of(VaultCommands.Vaults, c.ParseResult) } };
    private static readonly Option<string?> Policy = new("--policy") { Description = "The replication policy; left out: the default one", CompletionSources = { c => NamesForCompletion.Of(PolicyCommands.Policies, c.ParseResult) } };
    private static readonly Option<string> Agent = new("--agent") { Description = "The agent that captures the disks", Required = true, CompletionSources = { c => NamesForCompletion.Of(AgentCommands.Agents, c.ParseResult) } };
    private static readonly Option<string[]> Disk = new("--disk") { Description = "ID=PATH on the agent's host, e.g. vda=/var/lib/images/db1.raw; once per disk, in the machine's order", Required = true };
    private static readonly Option<string?> Capture = new("--capture") { Description = "How writes are captured: nbd (default), qemu or scan", CompletionSources = { "nbd", "qemu", "scan" } };
    private static readonly Option<string?> Target = new("--target") { Description = "The master target that is to hold the store; left out: the one with the most room" };

    public static Command Create(Resource machines)
    {
        var name = new Argument<string>("name") { Description = "The machine's name" };
        var command = new Command("protect", "Protect a machine: replicate its disks from now on") { name, Vault, Policy, Agent, Disk, Capture, Target };
        ActionRun.AddTo(command);
        command.SetAction(Session.With((session, cancel) =>
            ActionRun.CarryOutAsync(session, HttpMethod.Post, machines.Path, Body(session.Arguments, session.Arguments.GetRequiredValue(name)), cancel)));
        return command;
    }

    private static JsonObject Body(ParseResult arguments, string name)
    {
        var disks = arguments.GetRequiredValue(Disk).Select(d => Pair("--disk", d)).ToArray();
        if (disks.GroupBy(d => d.Id).FirstOrDefault(g => g.Count() > 1) is { } twice) throw CommandProblem.Usage($"the disk '{twice.Key}' is named twice", "Give every disk an id of its own.");
        var body = new JsonObject
        {
            ["name"] = name, ["vault"] = arguments.GetValue(Vault),
            ["source"] = new JsonObject { ["agent"] = arguments.GetValue(Agent), ["disks"] = disks.Select(d => BodyOf(d, arguments.GetValue(Capture))).ToJson() },
        };
        if (arguments.GetValue(Policy) is { } policy) body["policy"] = policy;
        if (arguments.GetValue(Target) is { } target) body["target"] = target;
        return body;
    }

    private static JsonObject BodyOf((string Id, string Path) disk, string? capture)
    {
        var body = new JsonObject { ["id"] = disk.Id, ["path"] = disk.Path };
        if (capture is not null) body["capture"] = capture;
        return body;
    }

    private static (string Id, string Value) Pair(string flag, string text) => text.Split('=', 2) is [{ Length: > 0 } id, { Length: > 0 } value]
        ? (id, value) : throw CommandProblem.Usage($"{flag} is '{text}'", $"Give it as {flag} vda=…");
}
