using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Hypervisors.Seeds;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Node.Http;

/// <param name="Capture">The agent's capture source; "nbd" where it is left out.</param>
public sealed record DiskBody(string Id, string Path, string? Capture = null);

/// <param name="Domain">A machine by the name that the hypervisor of the agent's host has for it, in place of its disks and definition.</param>
public sealed record SourceBody(string Agent, IReadOnlyList<DiskBody>? Disks = null, string? Domain = null);

/// <param name="Target">Name of the master target that is to hold the store; the one with the most room where it is left out.</param>
/// <param name="Definition">What the machine is besides its disks, so that a replica of it can be run; its disks' places are the ids of the disks.</param>
public sealed record ProtectBody(string Name, string Vault, string? Policy, SourceBody Source, string? Target = null, IReadOnlyList<string>? ExcludeDisks = null,
    MachineDefinition? Definition = null);

public static class MachineRoutes
{
    private static readonly string[] States = [.. typeof(Phase).GetNestedTypes().Where(t => t.IsSubclassOf(typeof(Phase))).Select(t => t.Name), MachineView.Unknown];

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/machines", async (string? state, HttpContext context, ControlPlane control, TimeProvider time, CancellationToken cancel) =>
            await PageAsync(state, context, control, time, cancel)).Needs(AccessRole.Viewer).WithName("list-machines");
        api.MapGet("/machines/{machine}", async (string machine, ControlPlane control, TimeProvider time, CancellationToken cancel) =>
            await ViewAsync(await KnownAsync(machine, control, cancel), control, time, cancel)).Needs(AccessRole.Viewer).WithName("get-machine");
        api.MapPost("/machines", ProtectAsync).Needs(AccessRole.Administrator).WithName("protect-machine").WithDryRun();
        api.MapGet("/machines/{machine}/exports", async (string machine, HttpContext context, ControlPlane control, CancellationToken cancel) =>
            Page<ExportView>.Of(ExportView.Of((await KnownAsync(machine, control, cancel)).State), context)).Needs(AccessRole.Viewer).WithName("list-machine-exports");
        MachineActionRoutes.Map(api);
    }

    /// <summary>All machines that were ever protected; those that are no longer, too.</summary>
    public static async Task<MachineView[]> ViewsAsync(ControlPlane control, TimeProvider time, CancellationToken cancel)
    {
        var listed = (await control.GetConfigurationAsync(cancel)).Machines;
        return await ViewsAsync(listed, control, time, cancel);
    }

    private static async Task<MachineView> ViewAsync(MeasuredMachine measured, ControlPlane control, TimeProvider time, CancellationToken cancel) =>
        MachineView.Of(measured, time.GetUtcNow(), await control.UnheardSinceAsync(measured, cancel));

    private static async Task<MachineView[]> ViewsAsync(IEnumerable<ListedMachine> listed, ControlPlane control, TimeProvider time, CancellationToken cancel)
    {
        var answers = await control.GetMachinesAsync(listed, cancel);
        var now = time.GetUtcNow();
        return [.. answers.Select(a => a.Measured is { } measured ? MachineView.Of(measured, now, a.UnheardSince) : MachineView.NotAnswering(a.Machine, a.SilentSince))];
    }

    /// <summary>Only machines that may be on the page are asked; the cursor counts all that were ever protected.</summary>
    private static async Task<Page<MachineView>> PageAsync(string? state, HttpContext context, ControlPlane control, TimeProvider time, CancellationToken cancel)
    {
        if (state is not null && !States.Contains(state, StringComparer.OrdinalIgnoreCase)) throw ProblemException.Invalid($"state is '{state}'.", $"Give one of: {string.Join(", ", States)}.");
        var listed = (await control.GetConfigurationAsync(cancel)).Machines;
        var (limit, at) = Page.Of(context, "state");
        List<MachineView> items = [];
        while (items.Count < limit && at < listed.Length)
            foreach (var view in await ViewsAsync(listed.Skip(at).Take(limit), control, time, cancel))
            {
                if (items.Count == limit) break;
                at++;
                if ((state is null || string.Equals(view.State, state, StringComparison.OrdinalIgnoreCase)) && (view.State != nameof(Phase.Unprotected) || view.TargetSite is not null)) items.Add(view);
            }
        return new(items, at < listed.Length ? at.ToString(CultureInfo.InvariantCulture) : null);
    }

    public static async Task<MeasuredMachine> KnownAsync(string name, ControlPlane control, CancellationToken cancel)
    {
        if (!MachineId.IsValid(name) || await control.GetVaultOfAsync(new MachineId(name), cancel) is null) throw ProblemException.NotFound("machine", name);
        return await control.GetMachineAsync(new MachineId(name), cancel);
    }

    private static async Task<IResult> ProtectAsync(ProtectBody body, HttpContext context, ControlPlane control, Settings.NodeSettings settings, CancellationToken cancel)
    {
        if (!MachineId.IsValid(body.Name)) throw ProblemException.Invalid($"'{body.Name}' is no name of a machine.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
        var domain = SourceDomain.NamedIn(body);
        var chosen = (body.Source?.Disks ?? []).Where(d => body.ExcludeDisks?.Contains(d.Id) != true).ToArray();
        if (domain is null && chosen.Length == 0) throw ProblemException.Invalid("source.disks is empty.", "Name at least one disk of the agent with id and path, or the machine as source.domain.");
        // A misspelt name would protect what was to be left out.
        if (domain is null && body.ExcludeDisks?.FirstOrDefault(e => body.Source!.Disks!.All(d => d.Id != e) && body.Definition?.Disks.Any(d => d.Target == e) != true) is { } excluded)
            throw ProblemException.Invalid($"There is no disk '{excluded}' that could be excluded.", "Name one of source.disks, or of the definition's disks.");
        if (domain is null) Check(chosen, body.Definition, body.ExcludeDisks ?? [], settings.Hypervisor.Boot);
        var configuration = await control.GetConfigurationAsync(cancel);
        var vault = configuration.Vaults.FirstOrDefault(v => v.Name == body.Vault) ?? throw ProblemException.NotFound("vault", body.Vault ?? "");
        var policyName = body.Policy ?? ClusterConfiguration.DefaultPolicy;
        var policy = configuration.Policies.FirstOrDefault(p => p.Name == policyName)?.Policy ?? throw ProblemException.NotFound("policy", policyName);
        var agent = configuration.Peers.FirstOrDefault(p => p.Kind == PeerKind.Agent && p.Name == body.Source!.Agent) ?? throw ProblemException.NotFound("agent", body.Source!.Agent ?? "");
        if (agent.Site != vault.SourceSite)
            throw ProblemException.Invalid($"Agent '{agent.Name}' is in site '{agent.Site}', but vault '{vault.Name}' protects machines of '{vault.SourceSite}'.", "Name a vault whose source is the agent's site.");
        var command = MachineActionRoutes.CommandOf(context);
        var machine = new MachineId(body.Name);
        // A repeat finds its job without asking the agent again, which by now holds the disks for this very machine.
        var before = (await control.GetMachineAsync(machine, cancel)).State;
        var isNew = before.Phase is Phase.Unprotected;
        var definition = domain is null || isNew ? body.Definition is { } given ? Encoding.UTF8.GetString(given.ToJson()) : null : before.Protection!.Definition;
        if (isNew && domain is not null)
        {
            (chosen, var found) = await SourceDomain.FindAsync(new AgentName(agent.Name), domain, body.ExcludeDisks ?? [], control, cancel);
            Check(chosen, found, body.ExcludeDisks ?? [], settings.Hypervisor.Boot);
            definition = Encoding.UTF8.GetString(found.ToJson());
        }
        var disks = isNew ? await InspectAsync(new AgentName(agent.Name), chosen, control, cancel) : before.Protection!.Disks;
        var target = !isNew ? before.Protection!.TargetNode
            : (body.Target is null ? await control.PlaceStoreAsync(vault.TargetSite, cancel) : await control.FindMasterTargetAsync(vault.TargetSite, body.Target, cancel)).Name;
        var order = new EnableProtection(machine, command, new AgentName(agent.Name), vault.SourceSite, vault.TargetSite, disks, policyName, policy, target, definition);
        if (context.IsDryRun()) return await MachineActionRoutes.CarryOutAsync(context, control, order, [], cancel);
        // What is refused must not bind the name to a vault.
        if (ProtectedMachine.Decide(before, order, context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow()).Reply is Refused refused) throw ProblemException.Of(refused);
        var by = context.CallerOf().Name;
        await control.FreeNamesAsync(by, configuration.Machines.Where(m => m.Machine == machine && m.Vault != vault.Name), cancel);
        await control.ConfigureAsync(new ListMachine(by, machine, vault.Name), cancel);
        var accepted = await MachineActionRoutes.CarryOutAsync(context, control, order, [], cancel);
        // Its name may have been freed between the two.
        if (await control.GetVaultOfAsync(machine, cancel) is null) await control.ConfigureAsync(new ListMachine(by, machine, vault.Name), cancel);
        return accepted;
    }

    private static void Check(DiskBody disk, DiskBody[] all)
    {
        if (!MachineId.IsValid(disk.Id)) throw ProblemException.Invalid($"'{disk.Id}' is no id of a disk.", "Use 1 to 63 of a-z, 0-9, '-' and '.', for example vda.");
        if (string.IsNullOrWhiteSpace(disk.Path) || !disk.Path.StartsWith('/')) throw ProblemException.Invalid($"Disk '{disk.Id}' has the path '{disk.Path}'.", "Give the absolute path of the file or block device on the agent's host.");
        if (all.Count(d => d.Id == disk.Id || d.Path == disk.Path) > 1) throw ProblemException.Invalid($"Disk '{disk.Id}' is named twice.", "Name every disk once, with an id of its own.");
        if (disk.Capture is not (null or "nbd")) throw new ProblemException(501, RefusalCode.NotYetSupported, $"This version cannot capture by '{disk.Capture}' yet.", "Use nbd.");
    }

    private static void Check(DiskBody[] disks, MachineDefinition? machine, IReadOnlyList<string> excluded, BootFolders boot)
    {
        foreach (var disk in disks) Check(disk, disks);
        if (machine is null) return;
        var places = machine.Disks.Where(d => d.Device == DiskDevice.Disk).Select(d => d.Target).ToArray();
        if (disks.FirstOrDefault(d => !places.Contains(d.Id)) is { } foreign)
            throw ProblemException.Invalid($"The machine's definition has no disk '{foreign.Id}'.", "Give every disk its place in the definition as its id, for example vda.");
        if (places.FirstOrDefault(p => disks.All(d => d.Id != p) && !excluded.Contains(p)) is { } open)
            throw ProblemException.Invalid($"Disk '{open}' of the machine's definition is not protected.", "Protect it too, or name it in excludeDisks: the replica is without it then.");
        if (boot.Misplaced(machine) is { } misplaced)
            throw new ProblemException(422, "bootFileMisplaced", $"Machine '{machine.Name}' cannot be protected as it is: {misplaced.What} {misplaced.Why}.",
                $"A replica could read any file of the target's host by it. If this one may be read, add its folder to {BootFolders.Setting} of this node and of the target's; or let the machine boot from a folder that is among them.");
        foreach (var (place, nic) in machine.Nics.Index())
            if (CloudInitSeed.ConfigurationOf(nic) is var card && (card.Addresses.Length > 0 || card.Gateways.Length > 0) && card.Problems($"definition.nics[{place}]").FirstOrDefault() is { } problem)
                throw ProblemException.Invalid($"{problem.Where}: {problem.Reason}", problem.Remedy);
    }

    private static async Task<ImmutableArray<DiskSpec>> InspectAsync(AgentName agent, DiskBody[] disks, ControlPlane control, CancellationToken cancel)
    {
        var found = ImmutableArray.CreateBuilder<DiskSpec>(disks.Length);
        foreach (var disk in disks)
        {
            var inspected = await control.AskAgentAsync(new InspectAgentDisk(agent, disk.Path), cancel);
            found.Add(new DiskSpec(found.Count, disk.Id, disk.Path, inspected.SizeBytes, disk.Capture ?? "nbd"));
        }
        return found.ToImmutable();
    }
}
