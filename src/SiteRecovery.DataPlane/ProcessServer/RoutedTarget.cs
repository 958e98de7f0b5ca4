using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.ProcessServer;

/// <summary>Sends each machine's stream on to where its route leads.</summary>
public sealed class RoutedTarget(Func<MachineId, IStreamTarget?> next) : IStreamTarget
{
    public ValueTask<IStreamSession> OpenAsync(StreamOpening opening, IPositionListener positions, CancellationToken stop) =>
        next(opening.Machine) is { } target ? target.OpenAsync(opening, positions, stop) : throw new IOException($"the master target of {opening.Machine} is not known yet");
}
