using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary><c>srctl machine protect</c>.</summary>
internal static class ProtectCommand
{
    private static readonly Option<string> Vault = new("--vault") { Description = "The pair of sites", Required = true, CompletionSources = { c => NamesForCompletion.Of(VaultCommands.Vaults, c.ParseResult) } };
    private static readonly Option<string?> Policy = new("--policy") { Description = "The replication policy; left out: the default one", CompletionSources = { c => NamesForCompletion.Of(PolicyCommands.Policies, c.ParseResult) } };
    private static readonly Option<string> Agent = new("--agent") { Description = "The agent that captures the disks", Required = true, CompletionSources = { c => NamesForCompletion.Of(AgentCommands.Agents, c.ParseResult) } };
    private static readonly Option<string[]> Disk = new("--disk") { Description = "ID=PATH on the agent's host, e.g. vda=/var/lib/images/db1.raw; once per disk, in the machine's order" };
    private static readonly Option<string?> Domain = new("--domain") { Description = "In place of --disk: the machine's name in the hypervisor of the agent's host, which tells disks and definition; see agent machines" };
    private static readonly Option<string[]> Exclude = new("--exclude-disk") { Description = "A disk of --domain that is not protected, and that the replica goes without; repeatable" };
    private static readonly Option<string?> Definition = new("--definition") { Description = "With --disk: a file with JSON that says what the machine is besides its disks, so that a replica of it can be run; HYPERVISORS.md has the fields; - for stdin" };
    private static readonly Option<string?> Capture = new("--capture") { Description = "How writes are captured: nbd (default), qemu or scan", CompletionSources = { "nbd", "qemu", "scan" } };
    private static readonly Option<string?> Target = new("--target") { Description = "The master target that is to hold the store; left out: the one with the most room" };

    public static Command Create(Resource machines)
    {
        var name = new Argument<string>("name") { Description = "The machine's name" };
        var command = new Command("protect", "Protect a machine: replicate its disks from now on") { name, Vault, Policy, Agent, Disk, Definition, Domain, Exclude, Capture, Target };
        ActionRun.AddTo(command);
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var body = Body(session.Arguments, session.Arguments.GetRequiredValue(name));
            if (session.Arguments.GetValue(Definition) is { } file) body["definition"] = await DefinitionInAsync(file, cancel);
            return await ActionRun.CarryOutAsync(session, HttpMethod.Post, machines.Path, body, cancel);
        }));
        return command;
    }

    private static JsonObject Body(ParseResult arguments, string name)
    {
        var domain = arguments.GetValue(Domain);
        var disks = (arguments.GetValue(Disk) ?? []).Select(d => Pair("--disk", d)).ToArray();
        if (disks.GroupBy(d => d.Id).FirstOrDefault(g => g.Count() > 1) is { } twice) throw CommandProblem.Usage($"the disk '{twice.Key}' is named twice", "Give every disk an id of its own.");
        if (domain is null == (disks.Length == 0)) throw CommandProblem.Usage(domain is null ? "no disk is named" : "--domain and --disk are both given", "Give --disk vda=… once per disk, or --domain with the machine's name in the hypervisor.");
        if (domain is not null && arguments.GetValue(Definition) is not null) throw CommandProblem.Usage("--domain and --definition are both given", "Leave --definition out: the hypervisor says what the machine is.");
        var source = new JsonObject { ["agent"] = arguments.GetValue(Agent) };
        if (domain is not null) source["domain"] = domain;
        else source["disks"] = disks.Select(d => BodyOf(d, arguments.GetValue(Capture))).ToJson();
        var body = new JsonObject { ["name"] = name, ["vault"] = arguments.GetValue(Vault), ["source"] = source };
        if (arguments.GetValue(Exclude) is { Length: > 0 } excluded) body["excludeDisks"] = excluded.ToJson();
        if (arguments.GetValue(Policy) is { } policy) body["policy"] = policy;
        if (arguments.GetValue(Target) is { } target) body["target"] = target;
        return body;
    }

    private static async Task<JsonNode> DefinitionInAsync(string file, CancellationToken cancel)
    {
        const string remedy = "Give a file with one JSON object: name, machineType, cpuCount, memoryBytes, disks and so on.";
        try
        {
            return JsonReading.Parse(file == "-" ? await Console.In.ReadToEndAsync(cancel) : await File.ReadAllTextAsync(file, cancel)) as JsonObject ?? throw CommandProblem.Usage($"{file} holds no JSON object", remedy);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new CommandProblem(ExitCode.Usage, $"{file} cannot be read", e.Message, remedy, e);
        }
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
