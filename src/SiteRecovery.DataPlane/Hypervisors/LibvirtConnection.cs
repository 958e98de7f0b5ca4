namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>A connection of libvirt's that is opened when it is needed and anew when it broke. Libvirt's calls block: here they do so on threads of the pool.</summary>
internal sealed class LibvirtConnection(string uri, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan CallPatience = TimeSpan.FromSeconds(60);
    private readonly Lock _gate = new();
    private LibvirtHandle? _open;
    private bool _disposed;

    /// <summary>Runs calls of one thread against the open connection.</summary>
    internal async Task<T> RunAsync<T>(Func<LibvirtHandle, T> calls, CancellationToken stop)
    {
        try
        {
            return await Task.Run(() => calls(Opened()), stop).WaitAsync(CallPatience, time, stop).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw new HypervisorException(HypervisorProblem.Unavailable, $"libvirt at {uri} did not answer within {CallPatience.TotalSeconds} s", "Look whether its daemon, or the host behind it, hangs");
        }
    }

    internal static LibvirtHandle? TryLookup(LibvirtHandle connection, string name)
    {
        var domain = LibvirtLibrary.Lookup(connection, name);
        if (domain != 0) return LibvirtHandle.Domain(domain);
        var (code, message) = LibvirtLibrary.LastError();
        return code == LibvirtLibrary.ErrorNoDomain ? null : throw new HypervisorException(HypervisorProblem.Unavailable, $"libvirt: {message}");
    }

    internal static LibvirtHandle Lookup(LibvirtHandle connection, string name) => TryLookup(connection, name) ?? throw HypervisorException.NoSuchMachine(name);

    internal static void Check(int result, string what)
    {
        if (result < 0) throw Failure(what);
    }

    internal static string Text(nint result, string what) => LibvirtLibrary.TakeString(result) ?? throw Failure(what);

    internal static HypervisorException Failure(string what)
    {
        var (code, message) = LibvirtLibrary.LastError();
        var problem = code switch
        {
            LibvirtLibrary.ErrorNoDomain => HypervisorProblem.NoSuchMachine,
            LibvirtLibrary.ErrorSystem or LibvirtLibrary.ErrorRpc => HypervisorProblem.Unavailable,
            _ => HypervisorProblem.Refused,
        };
        return new HypervisorException(problem, $"libvirt could not {what}: {message}");
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _open?.Dispose();
            _open = null;
        }
    }

    private LibvirtHandle Opened()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_open is { } now)
            {
                if (LibvirtLibrary.IsAlive(now) == 1) return now;
                now.Dispose();
                _open = null;
            }
            return _open = Open();
        }
    }

    private LibvirtHandle Open()
    {
        try
        {
            LibvirtLibrary.TakeErrors();
            var connection = LibvirtLibrary.Open(uri);
            if (connection != 0) return LibvirtHandle.Connection(connection);
        }
        catch (DllNotFoundException missing)
        {
            throw new HypervisorException(HypervisorProblem.Unavailable, "libvirt's library (libvirt.so.0) is not on this host",
                "Install the package libvirt0 for a remote hypervisor, or libvirt-daemon-system to run machines here", missing);
        }
        throw new HypervisorException(HypervisorProblem.Unavailable, $"libvirt at {uri} cannot be reached: {LibvirtLibrary.LastError().Message}",
            "Look whether libvirtd (or virtqemud) runs there, and whether this process may open its socket: be in the group libvirt, or root");
    }
}
