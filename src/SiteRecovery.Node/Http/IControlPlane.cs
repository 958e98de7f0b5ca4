using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Node.Http;

/// <summary>All that the routes need of the cluster.</summary>
public interface IControlPlane
{
    Task<MachineReply> SendAsync(OperatorCommand command, CancellationToken cancel);
    /// <summary>A machine that was never protected answers as unprotected.</summary>
    Task<ProtectedMachine> GetMachineAsync(MachineId machine, CancellationToken cancel);
    Task<ImmutableArray<Job>> GetJobsAsync(MachineId machine, JobId? only, CancellationToken cancel);
}
