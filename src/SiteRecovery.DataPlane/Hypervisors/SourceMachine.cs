using System.Text;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>
/// The machine of this host that has our exports for disks: stopped for a planned failover, started again where that is rolled back, and
/// stopped by force where it writes in an epoch that is over. Which machine it is, its own disks tell.
/// </summary>
/// <param name="socket">Where the exports are served on this host.</param>
/// <param name="exports">Names of the protected disks' exports.</param>
/// <param name="mark">File that remembers the name of a machine that we stopped: it must survive us, or nobody would start the machine again.</param>
public sealed class SourceMachine(IHypervisor hypervisor, string socket, IReadOnlyCollection<string> exports, string mark, IFileSystem files, TimeProvider time)
{
    /// <summary>How long after the button was pressed a guest is waited for before it is said that it does not hear.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);
    /// <summary>A guest may obey the button when nobody wants it to any more.</summary>
    private static readonly TimeSpan LateMax = TimeSpan.FromMinutes(2);

    /// <summary>Why the machine is not started again yet; null where nothing is in the way.</summary>
    public string? Problem { get; private set; }

    public bool WasStoppedByUs => files.Exists(mark);

    /// <summary>Presses the power button of a running machine and waits a while for its guest.</summary>
    /// <param name="says">Told what is waited for.</param>
    /// <returns>Null: no such machine runs. Otherwise what keeps it running, to be tried again.</returns>
    /// <exception cref="HypervisorException">The hypervisor cannot tell.</exception>
    public async Task<string?> TryStopAsync(Action<string> says, CancellationToken stop)
    {
        var machine = (await OfOursAsync(stop).ConfigureAwait(false)).FirstOrDefault(m => m.State != MachineState.Stopped);
        if (machine is null) return null;
        if (machine.State != MachineState.Running) return $"the machine {machine.Name} is paused or does not answer: look at its console and shut it down";
        // Known before it can happen.
        files.Replace(mark, Encoding.UTF8.GetBytes(machine.Name));
        says($"the power button of the machine {machine.Name} was pressed; its guest has not shut down yet");
        return await hypervisor.ShutDownAsync(machine.Name, Patience, stop).ConfigureAwait(false) == StopOutcome.Stopped
            ? null : $"the guest of the machine {machine.Name} does not obey its power button: shut it down from inside";
    }

    /// <summary>Starts the machine that we stopped, however often it takes. One that has not stopped yet is watched: it may do so late.</summary>
    /// <param name="mayRun">False: its epoch is over, and it stays as it is.</param>
    public async Task StartAgainAsync(Func<bool> mayRun, CancellationToken stop)
    {
        if (files.TryReadAll(mark) is not { } bytes) return;
        var (name, begun) = (Encoding.UTF8.GetString(bytes), time.GetTimestamp());
        while (mayRun())
        {
            if (await TryStartAsync(name, stop).ConfigureAwait(false) || time.GetElapsedTime(begun) >= LateMax && Problem is null)
            {
                files.Delete(mark);
                return;
            }
            await Task.Delay(LookAgain, time, stop).ConfigureAwait(false);
        }
    }

    /// <summary>Lets run on what its hypervisor stopped while nobody served its disks.</summary>
    /// <returns>Names of the machines that run again.</returns>
    /// <exception cref="HypervisorException">The hypervisor refuses, or cannot be reached; one whose disks fail still is among what it refuses.</exception>
    public async Task<IReadOnlyList<string>> ContinueAsync(CancellationToken stop)
    {
        var continued = new List<string>();
        foreach (var machine in await OfOursAsync(stop).ConfigureAwait(false))
            if (machine.State == MachineState.Paused && await hypervisor.ContinueAsync(machine.Name, stop).ConfigureAwait(false)) continued.Add(machine.Name);
        return continued;
    }

    /// <summary>Pulls the plug of every machine that has our exports for disks.</summary>
    /// <exception cref="HypervisorException">The hypervisor refuses, or cannot be reached.</exception>
    public async Task DestroyAsync(CancellationToken stop)
    {
        foreach (var machine in await OfOursAsync(stop).ConfigureAwait(false))
            if (machine.State != MachineState.Stopped) await hypervisor.DestroyAsync(machine.Name, stop).ConfigureAwait(false);
    }

    /// <returns>True: nothing is left to be done.</returns>
    private async Task<bool> TryStartAsync(string name, CancellationToken stop)
    {
        try
        {
            var machine = await hypervisor.FindAsync(name, stop).ConfigureAwait(false);
            if (machine?.State == MachineState.Stopped) await hypervisor.StartAsync(name, stop).ConfigureAwait(false);
            Problem = null;
            return machine is null or { State: MachineState.Stopped };
        }
        // Whatever it is: with the link cut nobody else would try again.
        catch (Exception refused) when (refused is not OperationCanceledException || !stop.IsCancellationRequested)
        {
            Problem = $"the machine {name} was stopped for a planned failover that was rolled back, and cannot be started again yet: {refused.Message}";
            return false;
        }
    }

    private async Task<IReadOnlyList<HypervisorMachine>> OfOursAsync(CancellationToken stop) =>
        [.. (await hypervisor.ListAsync(stop).ConfigureAwait(false)).Where(m => m.Definition.Disks.Any(d => d.Source is { } source && IsOurs(source)))];

    private bool IsOurs(string source)
    {
        if (!NbdAddress.IsNbd(source)) return false;
        try
        {
            var address = NbdAddress.Parse(source);
            // Over TCP the address may be any of this host's; the exports' names are the cluster's own.
            return exports.Contains(address.Export) && (address.Socket is null || address.Socket == socket);
        }
        catch (HypervisorException)
        {
            return false; // another's disk, in a spelling that we do not know
        }
    }
}
