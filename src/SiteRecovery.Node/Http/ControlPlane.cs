using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.Hosting;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Actors.MasterTargets;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Actors.ProtectedMachines;
using SiteRecovery.Actors.Sites;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <param name="Measured">Null: the machine did not answer in time.</param>
/// <param name="SilentSince">When this node first found that it does not answer.</param>
/// <param name="UnheardSince">Its source was never heard, since then.</param>
public sealed record MachineAnswer(MachineId Machine, MeasuredMachine? Measured, DateTimeOffset? SilentSince, DateTimeOffset? UnheardSince = null);

/// <summary>All that the routes need of the cluster, from whichever node they are asked.</summary>
public sealed class ControlPlane(ClusterHost cluster, NodeSettings settings, TimeProvider time)
{
    /// <summary>For what a node of an earlier version does not answer, and what can be done without.</summary>
    private static readonly TimeSpan NewAnswerPatience = TimeSpan.FromSeconds(2);
    private readonly ConcurrentDictionary<MachineId, DateTimeOffset> _silentSince = new();

    public Task<MachineReply> SendAsync(OperatorCommand command, CancellationToken cancel) => Ask<ProtectedMachineActor, MachineReply>(command, cancel);

    /// <summary>State and measurements; a machine that was never protected answers as unprotected.</summary>
    public Task<MeasuredMachine> GetMachineAsync(MachineId machine, CancellationToken cancel) =>
        Ask<ProtectedMachineActor, MeasuredMachine>(new GetMeasuredMachine(machine), cancel);

    /// <summary>Since when a source has not been heard that never was; null where it was, or a node of an earlier version has the machine.</summary>
    public async Task<DateTimeOffset?> UnheardSinceAsync(MeasuredMachine machine, CancellationToken cancel) => machine is { AgentHeardAt: null, State.Protection: not null }
        ? (await OrSilentAsync(Ask<ProtectedMachineActor, Listening>(new GetListening(machine.State.Id), cancel, NewAnswerPatience)))?.Since : null;

    /// <summary>The nodes that were members once; null where nobody says.</summary>
    public Task<KnownNodes?> GetKnownNodesAsync(CancellationToken cancel) => OrSilentAsync(Ask<ConfigurationActor, KnownNodes>(new GetKnownNodes(), cancel, NewAnswerPatience));

    /// <summary>Of each machine what <see cref="GetMachineAsync"/> says; one that does not answer holds up none of the others.</summary>
    public Task<MachineAnswer[]> GetMachinesAsync(IEnumerable<ListedMachine> machines, CancellationToken cancel) => Task.WhenAll(machines.Select(async m =>
    {
        if (await OrSilentAsync(GetMachineAsync(m.Machine, cancel)) is not { } measured) return new MachineAnswer(m.Machine, null, _silentSince.GetOrAdd(m.Machine, _ => time.GetUtcNow()));
        _silentSince.TryRemove(m.Machine, out _);
        return new MachineAnswer(m.Machine, measured, null, await UnheardSinceAsync(measured, cancel));
    }));

    /// <summary>All jobs of each machine; null of one that does not answer.</summary>
    public Task<(MachineId Machine, MachineJobs? Jobs)[]> GetJobsAsync(IEnumerable<ListedMachine> machines, CancellationToken cancel) => Task.WhenAll(machines.Select(async m =>
        (m.Machine, await OrSilentAsync(Ask<ProtectedMachineActor, MachineJobs>(new GetJobs(m.Machine, null), cancel)))));

    private static async Task<T?> OrSilentAsync<T>(Task<T> asked) where T : class
    {
        try
        {
            return await asked;
        }
        catch (AskTimeoutException)
        {
            return null;
        }
    }

    public async Task<ImmutableArray<Job>> GetJobsAsync(MachineId machine, JobId? only, CancellationToken cancel) =>
        (await Ask<ProtectedMachineActor, MachineJobs>(new GetJobs(machine, only), cancel)).Jobs;

    public Task<ConfigurationView> GetConfigurationAsync(CancellationToken cancel) => Ask<ConfigurationActor, ConfigurationView>(new GetConfiguration(), cancel);

    /// <summary>The vault of a machine; null: it is not listed.</summary>
    public async Task<string?> GetVaultOfAsync(MachineId machine, CancellationToken cancel) => (await Ask<ConfigurationActor, Listing>(new GetListing(machine), cancel)).Vault;

    /// <summary>Told without an answer: a machine that does not hear it asks by itself within a minute.</summary>
    public void TellPolicy(ConfigurationView configuration, string name)
    {
        var machines = ActorRegistry.For(cluster.System).Get<ProtectedMachineActor>();
        if (configuration.Policies.FirstOrDefault(p => p.Name == name) is not { } saved) return;
        foreach (var listed in configuration.Machines) machines.Tell(new ChangePolicy(listed.Machine, new CommandId("policy"), name, saved.Policy), ActorRefs.NoSender);
    }

    /// <summary>Machines that are protected no more leave their vault, and their names are free; up to the first of which something is left.</summary>
    public async Task FreeNamesAsync(string by, IEnumerable<ListedMachine> listed, CancellationToken cancel)
    {
        foreach (var (machine, vault) in listed)
        {
            if (!(await GetMachineAsync(machine, cancel)).State.IsAtRest) return;
            await ConfigureAsync(new UnlistMachine(by, machine), cancel);
            // Somebody may have protected it meanwhile.
            if (!(await GetMachineAsync(machine, cancel)).State.IsAtRest) await ConfigureAsync(new ListMachine(by, machine, vault), cancel);
        }
    }

    public async Task<AccessToken?> CheckTokenAsync(string hash, CancellationToken cancel) =>
        (await Ask<ConfigurationActor, TokenChecked>(new CheckToken(hash), cancel)).Token;

    public async Task<ImmutableArray<AuditEntry>> GetAuditAsync(int limit, CancellationToken cancel) =>
        (await Ask<ConfigurationActor, AuditEntries>(new GetAudit(limit), cancel)).Entries;

    /// <exception cref="ProblemException">The configuration refuses it.</exception>
    public async Task<ConfigurationAccepted> ConfigureAsync(ConfigurationCommand command, CancellationToken cancel) =>
        await Ask<ConfigurationActor, ConfigurationReply>(command, cancel) switch
        {
            ConfigurationAccepted accepted => accepted,
            ConfigurationRefused refused => throw ProblemException.Of(refused),
            var other => throw new InvalidOperationException($"{other.GetType().Name} is no answer"),
        };

    /// <summary>A member that is dark stays one until it is taken out.</summary>
    public bool IsReachable(NodeAnnouncement node) => Akka.Cluster.Cluster.Get(cluster.System).State.Unreachable.All(m => m.Address.ToString() != node.Address);

    public Task<Nodes> GetNodesAsync(CancellationToken cancel) => Ask<SiteActor, Nodes>(new GetNodes(), cancel);

    /// <summary>The point that the machine's store holds for a selector.</summary>
    public async Task<RecoveryPoint> ResolvePointAsync(ProtectedMachine machine, string text, CancellationToken cancel)
    {
        var selector = PointSelector.Parse(text)
            ?? throw ProblemException.Invalid($"'{text}' names no recovery point.", $"Give {PointSelector.Forms}.");
        if (selector is PointSelector.AtTime at && at.IsAhead(time.GetUtcNow(), newest: null)) await CheckAheadAsync(machine, text, at, cancel);
        var resolved = await AskStoreAsync<PointResolved>(machine, new ResolvePoint(machine.Id, selector), cancel);
        if (resolved is { Point: null, ThinnedAfter: { } before, ThinnedBefore: { } after })
            throw new ProblemException(404, "thinnedPoint", $"'{text}' was thinned away in the store of '{machine.Id}', as its policy's tiers ask.", $"The nearest points that are left are {before.Id} and {after.Id}.");
        return resolved.Point ?? throw new ProblemException(
            404, "unknownPoint", $"The store of '{machine.Id}' holds no point '{text}'.", $"List its points with GET /api/v1/machines/{machine.Id}/recovery-points.");
    }

    /// <exception cref="ProblemException">It is a time at which nothing can have been yet: the newest point would look like what was asked for.</exception>
    private async Task CheckAheadAsync(ProtectedMachine machine, string text, PointSelector.AtTime at, CancellationToken cancel)
    {
        var (newest, now) = ((await AskStoreAsync<PointResolved>(machine, new ResolvePoint(machine.Id, new PointSelector.Latest()), cancel)).Point, time.GetUtcNow());
        if (at.IsAhead(now, newest)) throw new ProblemException(
            422, "timeAhead", $"'{text}' was read as {JsonForms.Text(at.Time)} (UTC), {JsonForms.Text(TimeSpan.FromSeconds(Math.Floor((at.Time - now).TotalSeconds)))} ahead of this node's clock.",
            $"{(newest is null ? "There is no point yet." : $"The newest point is {newest.Id} of {JsonForms.Text(newest.At)}.")} Give latest, or a time with its zone, such as at:2026-01-31T04:00:00+01:00.");
    }

    public Task<RecoveryPoints> GetPointsAsync(ProtectedMachine machine, GetRecoveryPoints question, CancellationToken cancel) =>
        AskStoreAsync<RecoveryPoints>(machine, question, cancel);

    public Task<NotedPoint> AskPointAsync(ProtectedMachine machine, IForStore question, CancellationToken cancel) => AskStoreAsync<NotedPoint>(machine, question, cancel);

    /// <exception cref="ProblemException">The agent is not connected anywhere, or says why it cannot.</exception>
    public async Task<AgentAnswer> AskAgentAsync(IForAgent question, CancellationToken cancel)
    {
        var node = (await GetNodesAsync(cancel)).ProcessServerOf(question.Agent) ?? throw new ProblemException(
            503, "agentNotConnected", $"Agent '{question.Agent}' is not connected to any process server.", "Start it, or look at GET /api/v1/agents and into its log.");
        var answer = await cluster.System.ActorSelection($"{node.Address}/user/{NodeRoles.ProcessServer}").Ask<AgentAnswer>(question, settings.AskTimeout, cancel);
        return answer.Error is { } error ? throw new ProblemException(422, "agentRefused", $"Agent '{question.Agent}': {error}", answer.Remedy ?? "Correct what it names, then try again.") : answer;
    }

    /// <exception cref="ProblemException">The agent is not connected, knows no hypervisor, or cannot reach it.</exception>
    public async Task<HostMachinePage> ListHostMachinesAsync(AgentName agent, string? only, int skip, int limit, CancellationToken cancel)
    {
        var answer = await AskAgentAsync(new ListHostMachines(agent, only, skip, limit), cancel);
        return HostMachinePage.FromJson(answer.Machines ?? throw new InvalidOperationException("the agent lists its machines and names none"));
    }

    /// <summary>The master target of a site that a new machine's store goes to: the one with the most room left.</summary>
    public async Task<NodeAnnouncement> PlaceStoreAsync(SiteName site, CancellationToken cancel)
    {
        var open = (await GetNodesAsync(cancel)).Of(NodeRoles.MasterTarget, site).ToArray();
        return open.MaxBy(n => n.Stores.FreeBytes) ?? throw new ProblemException(
            422, "noMasterTarget", $"No master target of site '{site}' is a member of the cluster.", "Start a node with the role master-target there, or name another vault.");
    }

    /// <summary>A master target of a site by its name, or the site's first: what goes to nobody would never begin.</summary>
    /// <exception cref="ProblemException">It is not a member of the cluster.</exception>
    public async Task<NodeAnnouncement> FindMasterTargetAsync(SiteName site, string? name, CancellationToken cancel)
    {
        var open = (await GetNodesAsync(cancel)).Of(NodeRoles.MasterTarget, site).ToArray();
        if (name is null)
            return open.FirstOrDefault() ?? throw new ProblemException(503, "noMasterTarget", $"No master target of site '{site}' is a member of the cluster.", "Look at GET /api/v1/nodes; start one there, and try again.");
        return open.FirstOrDefault(n => n.Name == name) ?? throw new ProblemException(
            422, "unknownTarget", $"No master target '{name}' of site '{site}' is a member of the cluster.",
            open.Length == 0 ? "Start a node with the role master-target there." : $"Leave target out, or name one of: {string.Join(", ", open.Select(n => n.Name))}.");
    }

    /// <summary>Of a machine whose source is a replica.</summary>
    public async Task<string> TakeReplicaPointAsync(SiteName site, ReplicaSource replica, TakeReplicaPoint question, CancellationToken cancel) =>
        (await AskStoreAsync<ReplicaPointTaken>(site, replica.Node, question, cancel)).PointId;

    private Task<T> AskStoreAsync<T>(ProtectedMachine machine, IForStore question, CancellationToken cancel) where T : class
    {
        var protection = machine.Protection ?? throw new ProblemException(409, RefusalCode.NotAllowedInState, $"'{machine.Id}' is not protected and has no recovery points.", "Enable protection first.");
        return AskStoreAsync<T>(protection.TargetSite, protection.TargetNode, question, cancel);
    }

    private async Task<T> AskStoreAsync<T>(SiteName site, string? name, IForStore question, CancellationToken cancel) where T : class
    {
        var node = (await GetNodesAsync(cancel)).MasterTarget(site, name) ?? throw new ProblemException(
            503, "storeUnreachable", $"The master target that holds the store of '{question.Machine}' is not a member of the cluster.", "Look at GET /api/v1/nodes, and start it.");
        return await cluster.System.ActorSelection($"{node.Address}/user/{NodeRoles.MasterTarget}").Ask<object>(question, settings.AskTimeout, cancel) switch
        {
            T answer => answer,
            StoreUnavailable unavailable => throw new ProblemException(503, "storeUnreachable", unavailable.Reason, "Look into the log of the master target."),
            var other => throw new InvalidOperationException($"{other.GetType().Name} is no answer"),
        };
    }

    private Task<T> Ask<TActor, T>(object message, CancellationToken cancel, TimeSpan? patience = null) =>
        ActorRegistry.For(cluster.System).Get<TActor>().Ask<T>(message, patience is { } less && less < settings.AskTimeout ? less : settings.AskTimeout, cancel);
}
