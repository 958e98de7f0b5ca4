using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Agent;

/// <summary>The agent as a process: its folder, its sockets and its identity. It serves its machines' disks from the first second, and obeys a process server whenever one is reachable.</summary>
public sealed class AgentService : IAsyncDisposable
{
    private readonly FileStream _held;
    private readonly AgentOptions _options;
    private readonly Membership _membership;
    private readonly NbdServer _nbd;
    private readonly IHypervisor? _hypervisor;
    private readonly ChannelClient _target;
    private readonly AgentHost _host;
    private readonly AgentMachines _machines;
    private readonly AgentConversation _conversation;
    private const int PeersSaidMax = 64;
    private readonly HashSet<string> _saidOfPeers = [];
    private string? _saidOfTls;

    private AgentService(AgentOptions options, FileStream held, TimeProvider time)
    {
        (_options, _held, _membership) = (options, held, new Membership(options, time));
        var (folder, exports) = (Path.GetFullPath(options.DataFolder), new NbdExports());
        _nbd = new NbdServer(exports, new NbdServerOptions { SocketGroup = options.SocketGroup, NotGiven = Console.Error.Say }, time);
        _hypervisor = options.OpenHypervisor(time);
        _target = new ChannelClient(_membership.ConnectDataAsync, new ChannelOptions { Time = time });
        _host = new AgentHost(folder, UnixSocketPath.Checked(Path.Combine(folder, "nbd.sock")), RealFileSystem.Instance, time, exports, _nbd, _target, _hypervisor)
        {
            DiskFolders = options.DiskFolders is { Count: > 0 } allowed ? new DiskFolders(allowed) : null,
        };
        _machines = new AgentMachines(_host, options.AskAfterBoot ?? AgentOptions.AskAfterBootDefault);
        _conversation = new AgentConversation(_membership, _machines, new HostListing(_host, options.Hypervisor), _host, ListenOverTls);
    }

    /// <exception cref="AgentProblem">It belongs nowhere, and has no disks to serve either.</exception>
    public static async Task<AgentService> StartAsync(AgentOptions options, TimeProvider time, CancellationToken stop)
    {
        var agent = new AgentService(options, Hold(options.DataFolder), time);
        try
        {
            await agent._machines.StartAsync();
            if (options.SocketGroup is not null) PassableFolder.TryOpen(agent._host.Folder, agent._host.Log.Say, Path.GetFileName(agent._host.Socket));
            agent._nbd.Listen(new UnixDomainSocketEndPoint(agent._host.Socket));
            // Before the network is asked for anything: machines of this host may wait for no more than their disks.
            ServiceNotice.SayReady(options.NotifySocket, agent._host.Log);
            await agent.LoadIdentityAsync(stop);
            agent.ListenOverTls();
            Console.Out.Say($"agent {agent._membership.Name} of site {agent._membership.Site} serves disks at {agent._host.Socket}");
            return agent;
        }
        catch
        {
            await agent.DisposeAsync();
            throw;
        }
    }

    /// <summary>Obeys one process server after another until told to stop.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        _ = _machines.SayWhatLiesElsewhereAsync();
        var renewing = _membership.RenewAsync(_host.Log.Say, over.Token);
        try
        {
            await _conversation.RunAsync(stop);
        }
        finally
        {
            await over.CancelAsync();
            await renewing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>What is wrong with the identity keeps no guest from its disk.</summary>
    private async Task LoadIdentityAsync(CancellationToken stop)
    {
        try
        {
            await _membership.LoadAsync(stop);
        }
        catch (Exception problem) when (_machines.ServeAny && !stop.IsCancellationRequested)
        {
            _host.Log.Say($"{problem.Message}; until then the disks are served, and their changes tracked, without replication");
        }
    }

    /// <summary>Its certificate comes with the identity. A port that is taken keeps no guest of this host from its disk, nor the writes from the target.</summary>
    private void ListenOverTls()
    {
        if (NbdEndpoint is not null || _options.NbdListen is not { } wanted || _membership.ForServer() is not { } tls) return;
        try
        {
            NbdEndpoint = (IPEndPoint)_nbd.Listen(wanted, tls, Refused);
        }
        catch (SocketException taken)
        {
            if (_saidOfTls != taken.Message) _host.Log.Say($"disks are not served over TLS at {wanted}: {_saidOfTls = taken.Message}; tried again with the next connection to a process server");
        }
    }

    /// <summary>Said once of each: a hypervisor that is turned away tries again and again.</summary>
    private string? Refused(X509Certificate? certificate)
    {
        var why = _membership.WhyNoDisksFor(certificate);
        lock (_saidOfPeers)
            if (why is not null && _saidOfPeers.Count < PeersSaidMax && _saidOfPeers.Add(why)) _host.Log.Say($"refused over TLS: {why}");
        return why;
    }

    /// <summary>Where disks are served over TLS; null where they are not.</summary>
    public IPEndPoint? NbdEndpoint { get; private set; }

    /// <summary>Two agents on one folder would take the disks from each other.</summary>
    private static FileStream Hold(string folder)
    {
        RealFileSystem.Instance.CreateDirectory(folder);
        try
        {
            var held = new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            ClosedFolder.Close(folder, Console.Error.Say, "pki", "machines");
            return held;
        }
        catch (IOException)
        {
            throw new AgentProblem($"{folder} is in use by another agent: stop it, or give this one a folder of its own with --data");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _machines.EndAsync();
        await _nbd.DisposeAsync();
        await _machines.DisposeAsync();
        await _target.DisposeAsync();
        if (_hypervisor is not null) await _hypervisor.DisposeAsync();
        _held.Dispose();
        _membership.Dispose();
    }
}
