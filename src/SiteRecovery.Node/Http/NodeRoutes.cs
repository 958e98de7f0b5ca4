using System.Globalization;
using Akka.Cluster;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.Node.Http;

/// <param name="Name">Null while the node has not announced itself.</param>
/// <param name="Address">Where it is a member, or was last.</param>
/// <param name="Status">Of a member; "notSeen": it was one, and is not now.</param>
public sealed record NodeView(
    string? Name, string Address, string Site, IReadOnlyList<string> Roles, string Status, bool Reachable, string? HttpUrl, int? DataPort, int? AgentPort, StoresHeld? Stores);

public sealed record SiteView(string Name, int Nodes, int ReachableNodes, IReadOnlyList<string> Roles, IReadOnlyList<string> Agents);

/// <param name="Connected">To a process server that is a member of the cluster.</param>
public sealed record AgentView(string Name, string Site, DateTimeOffset JoinedAt, bool Connected, string? ProcessServer);

/// <param name="CanBeCaptured">False: <paramref name="Problem"/> and <paramref name="Remedy"/> say why, and what to do.</param>
public sealed record HostDiskView(string Target, string? Source, long? SizeBytes, bool CanBeCaptured, string? Problem, string? Remedy);

/// <summary>A machine that the hypervisor of an agent's host has.</summary>
/// <param name="Disks">Without media, which are not protected.</param>
/// <param name="Definition">Null where it is too large; <paramref name="Problem"/> says so.</param>
public sealed record HostMachineView(string Name, string State, int? CpuCount, long? MemoryBytes, string? Firmware, IReadOnlyList<HostDiskView> Disks, string? Problem, MachineDefinition? Definition)
{
    public static HostMachineView Of(HostMachine machine) => new(
        machine.Name, machine.State, machine.Definition?.CpuCount, machine.Definition?.MemoryBytes, machine.Definition?.Firmware.Kind.ToString().ToLowerInvariant(),
        [.. machine.Disks.Select(d => new HostDiskView(d.Target, d.Source, d.SizeBytes, d.Problem is null, d.Problem, d.Remedy))], machine.Problem, machine.Definition);
}

public static class NodeRoutes
{
    /// <summary>The status of a node that is known and not a member.</summary>
    public const string NotSeen = "notSeen";

    private const string SitePrefix = "site-";

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/nodes", async (HttpContext context, ClusterHost cluster, ControlPlane control, CancellationToken cancel) =>
            Page<NodeView>.Of(await NodesAsync(cluster, control, cancel), context)).Needs(AccessRole.Viewer).WithName("list-nodes");
        api.MapGet("/nodes/{node}", async (string node, ClusterHost cluster, ControlPlane control, CancellationToken cancel) =>
            (await NodesAsync(cluster, control, cancel)).FirstOrDefault(n => n.Name == node) ?? throw ProblemException.NotFound("node", node)).Needs(AccessRole.Viewer).WithName("get-node");
        api.MapDelete("/nodes/{node}", ForgetAsync).Needs(AccessRole.Administrator).WithName("forget-node");
        NotYet.Map(api, "/nodes/{node}/drain", "drain a node", "Stop it, by SIGTERM or systemctl: the other nodes take its machines' actors over, and agents go to another process server of their site. Stores stay with their master target.");
        api.MapGet("/sites", async (HttpContext context, ClusterHost cluster, ControlPlane control, CancellationToken cancel) =>
            Page<SiteView>.Of(await SitesAsync(cluster, control, cancel), context)).Needs(AccessRole.Viewer).WithName("list-sites");
        api.MapGet("/sites/{site}", async (string site, ClusterHost cluster, ControlPlane control, CancellationToken cancel) =>
            (await SitesAsync(cluster, control, cancel)).FirstOrDefault(s => s.Name == site) ?? throw ProblemException.NotFound("site", site)).Needs(AccessRole.Viewer).WithName("get-site");
        api.MapGet("/agents", async (HttpContext context, ControlPlane control, CancellationToken cancel) =>
            Page<AgentView>.Of(await AgentsAsync(control, cancel), context)).Needs(AccessRole.Viewer).WithName("list-agents");
        api.MapGet("/agents/{agent}", async (string agent, ControlPlane control, CancellationToken cancel) =>
            (await AgentsAsync(control, cancel)).FirstOrDefault(a => a.Name == agent) ?? throw ProblemException.NotFound("agent", agent)).Needs(AccessRole.Viewer).WithName("get-agent");
        api.MapGet("/agents/{agent}/machines", ListMachinesAsync).Needs(AccessRole.Viewer).WithName("list-agent-machines");
    }

    /// <summary>A page may hold fewer machines than its limit and yet not be the last: definitions are large.</summary>
    private static async Task<Page<HostMachineView>> ListMachinesAsync(string agent, HttpContext context, ControlPlane control, CancellationToken cancel)
    {
        if ((await control.GetConfigurationAsync(cancel)).Peers.All(p => p.Kind != PeerKind.Agent || p.Name != agent)) throw ProblemException.NotFound("agent", agent);
        var (limit, skip) = Page.Of(context);
        var found = await control.ListHostMachinesAsync(new AgentName(agent), null, skip, limit, cancel);
        return new([.. found.Machines.Select(HostMachineView.Of)], found.More ? (skip + found.Machines.Count).ToString(CultureInfo.InvariantCulture) : null);
    }

    /// <summary>A node that is gone for good is not missed any more.</summary>
    private static async Task<IResult> ForgetAsync(string node, HttpContext context, ClusterHost cluster, ControlPlane control, CancellationToken cancel)
    {
        var found = (await NodesAsync(cluster, control, cancel)).FirstOrDefault(n => n.Name == node) ?? throw ProblemException.NotFound("node", node);
        if (found.Status != NotSeen) throw new ProblemException(409, "inUse", $"Node '{node}' is a member of the cluster.", "Stop it first, and wait until the others have noticed.");
        await control.ConfigureAsync(new ForgetNode(context.CallerOf().Name, node), cancel);
        return Results.NoContent();
    }

    /// <summary>The members of the cluster, and those that were and are not now.</summary>
    public static async Task<IReadOnlyList<NodeView>> NodesAsync(ClusterHost cluster, ControlPlane control, CancellationToken cancel)
    {
        // Also without a configuration server, and from one of an earlier version, the members are told.
        var asked = control.GetKnownNodesAsync(cancel);
        var members = await MembersAsync(cluster, control, cancel);
        if (await asked is not { } known) return members;
        // A member that has not announced itself yet is told by its address.
        return [.. members, .. known.Nodes.Where(k => members.All(m => m.Name != k.Name && m.Address != k.Address))
            .Select(k => new NodeView(k.Name, k.Address, k.Site.Value, [.. k.Roles.Order()], NotSeen, false, null, null, null, null))];
    }

    private static async Task<IReadOnlyList<NodeView>> MembersAsync(ClusterHost cluster, ControlPlane control, CancellationToken cancel)
    {
        var (state, announced) = (Cluster.Get(cluster.System).State, (await control.GetNodesAsync(cancel)).All.ToDictionary(n => n.Address));
        return [.. state.Members.Select(m =>
        {
            var known = announced.GetValueOrDefault(m.Address.ToString());
            return new NodeView(
                known?.Name, m.Address.ToString(), m.Roles.FirstOrDefault(r => r.StartsWith(SitePrefix, StringComparison.Ordinal))?[SitePrefix.Length..] ?? "",
                [.. m.Roles.Where(r => !r.StartsWith(SitePrefix, StringComparison.Ordinal)).Order()], m.Status.ToString().ToLowerInvariant(), !state.Unreachable.Contains(m),
                known?.HttpUrl, known?.DataPort, known?.AgentPort, known?.Has(NodeRoles.MasterTarget) == true ? known.Stores : null);
        })];
    }

    public static async Task<IReadOnlyList<AgentView>> AgentsAsync(ControlPlane control, CancellationToken cancel)
    {
        var nodes = await control.GetNodesAsync(cancel);
        return [.. (await control.GetConfigurationAsync(cancel)).Peers.Where(p => p.Kind == PeerKind.Agent).Select(p =>
        {
            var at = nodes.ProcessServerOf(new Domain.Vaults.AgentName(p.Name));
            return new AgentView(p.Name, p.Site.Value, p.Since, at is not null, at?.Name);
        })];
    }

    private static async Task<IReadOnlyList<SiteView>> SitesAsync(ClusterHost cluster, ControlPlane control, CancellationToken cancel)
    {
        var agents = await AgentsAsync(control, cancel);
        return [.. (await NodesAsync(cluster, control, cancel)).GroupBy(n => n.Site).OrderBy(g => g.Key).Select(g => new SiteView(
            g.Key, g.Count(), g.Count(n => n.Reachable), [.. g.SelectMany(n => n.Roles).Distinct().Order()], [.. agents.Where(a => a.Site == g.Key).Select(a => a.Name)]))];
    }
}
