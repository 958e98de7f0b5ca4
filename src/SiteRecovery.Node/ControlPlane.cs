using System.Collections.Immutable;
using Akka.Actor;
using Akka.Hosting;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node;

/// <summary>
/// Asks the machines' actors. The region (or its proxy) is found in the actor registry under <see cref="IForMachine"/>,
/// the type of everything that is addressed to one machine.
/// </summary>
public sealed class ControlPlane(ActorSystem system, NodeSettings settings) : IControlPlane
{
    public Task<MachineReply> SendAsync(OperatorCommand command, CancellationToken cancel) => AskAsync<MachineReply>(command, cancel);

    public async Task<ProtectedMachine> GetMachineAsync(MachineId machine, CancellationToken cancel) =>
        (await AskAsync<MachineState>(new GetMachine(machine), cancel)).State;

    public async Task<ImmutableArray<Job>> GetJobsAsync(MachineId machine, JobId? only, CancellationToken cancel) =>
        (await AskAsync<MachineJobs>(new GetJobs(machine, only), cancel)).Jobs;

    private Task<T> AskAsync<T>(IForMachine message, CancellationToken cancel)
    {
        if (!ActorRegistry.For(system).TryGet<IForMachine>(out var machines))
            throw new ProblemException(503, "noConfigurationServer", "This node does not reach the machines' actors.", "Ask a node of the role configuration-server.");
        return machines.Ask<T>(message, settings.AskTimeout, cancel);
    }
}
