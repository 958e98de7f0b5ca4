using System.Net;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Agent;

/// <param name="DataFolder">Identity, bitmaps, capture state and the NBD socket live here.</param>
/// <param name="NbdListen">Where hypervisors on other hosts open the disks, over TLS; null: only the unix socket is served.</param>
/// <param name="AskAfterBoot">For how long writes wait after a boot of this host until somebody says that no replica of the machine runs elsewhere; infinite: for ever; null: <see cref="AskAfterBootDefault"/>.</param>
/// <param name="JoinUrl">A configuration server; needed until the agent has an identity.</param>
/// <param name="Hypervisor">Of this host: a URI of libvirt's, or the full path of a folder of machines that QEMU runs directly; null: none is known.</param>
/// <param name="QemuAccelerators">For such a folder, in QEMU's order of preference.</param>
/// <param name="SocketGroup">Name or number of the group that may open disks on the unix socket beside this process's user; null: nobody.</param>
/// <param name="NbdAllow">Names of agents and nodes that may open disks at <paramref name="NbdListen"/>, beside this agent itself; null: none.</param>
/// <param name="DiskFolders">Full paths of the folders that disks lie in which are protected from now on; null or empty: anywhere.</param>
/// <param name="NotifySocket">Where a service manager wants to hear that disks are served; null: nowhere.</param>
public sealed record AgentOptions(
    string DataFolder, string? JoinUrl, string? TokenFile, string Name, IPEndPoint? NbdListen = null, string? Hypervisor = null, string? QemuAccelerators = null,
    TimeSpan? AskAfterBoot = null, string? SocketGroup = null, string? NotifySocket = null, IReadOnlyList<string>? NbdAllow = null, IReadOnlyList<string>? DiskFolders = null)
{
    /// <summary>Longer than a whole site takes to come back and be told, and short enough for a machine to boot late.</summary>
    public static TimeSpan AskAfterBootDefault { get; } = TimeSpan.FromSeconds(60);

    internal IHypervisor? OpenHypervisor(TimeProvider time) => Hypervisor switch
    {
        null or "none" => null,
        ['/', ..] folder => new QemuHypervisor(folder, Says(QemuAccelerators is null ? new QemuOptions() : new QemuOptions { Accelerators = QemuAccelerators }), RealFileSystem.Instance, time),
        var uri => new LibvirtHypervisor(uri, time),
    };

    private static QemuOptions Says(QemuOptions options) => options with { Says = Console.Error.Say };
}

/// <summary>What stops the agent and what the operator can do about it, in one sentence each.</summary>
public sealed class AgentProblem(string message, bool isUsage = false, Exception? cause = null) : Exception(message, cause)
{
    public bool IsUsage { get; } = isUsage;
}
