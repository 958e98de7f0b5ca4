using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>Tells which machines this host's hypervisor has.</summary>
internal sealed class HostListing(AgentHost here, string? named)
{
    /// <summary>Shorter than whoever asked waits, so that he hears why.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(8);

    /// <param name="owner">The protected machine that a path is a disk of.</param>
    public async Task<MachineList> AnswerAsync(ListMachines question, Func<string, string?> owner, CancellationToken stop)
    {
        if (here.Hypervisor is not { } hypervisor)
            return new MachineList(question.Id, null, "it was started without a hypervisor, so it knows disks and no machines", "Start the agent with --hypervisor (a libvirt URI such as qemu:///system), or name disks by their paths.");
        try
        {
            // A hypervisor, and storage that is gone, may block; the rest of the agent must not.
            return new MachineList(question.Id, await Task.Run(() => PageAsync(hypervisor, question, owner, stop), stop).WaitAsync(Patience, here.Time, stop));
        }
        catch (TimeoutException)
        {
            return new MachineList(question.Id, null, $"its hypervisor {named} did not answer within {Patience.TotalSeconds:0} s", "Look whether its daemon, or the storage of its machines, hangs.");
        }
        catch (HypervisorException refused)
        {
            return new MachineList(question.Id, null, $"its hypervisor {named}: {refused.Message}", "See that the hypervisor runs and that the agent's user may use it, or correct the agent's --hypervisor.");
        }
        catch (Exception broken) when (broken is IOException or UnauthorizedAccessException or InvalidDataException or ObjectDisposedException)
        {
            return new MachineList(question.Id, null, $"its hypervisor {named}: {broken.Message}", "Mend what it names, then try again.");
        }
    }

    private async Task<HostMachinePage> PageAsync(IHypervisor host, ListMachines question, Func<string, string?> owner, CancellationToken stop)
    {
        IReadOnlyList<HypervisorMachine> all = question.Only is { } only ? await host.FindAsync(only, stop) is { } found ? [found] : [] : await host.ListAsync(stop);
        return HostMachinePage.Of(all, new DiskDiscovery(here.Socket, owner, here.Files, here.DiskFolders), question.Skip, question.Limit);
    }
}
