using System.Net;
using System.Net.Sockets;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>Which bytes a link lets through: those of who connects are on their way forward.</summary>
[Flags]
internal enum LinkWays { None = 0, Forward = 1, Backward = 2, Both = 3 }

/// <summary>
/// One port of the link between two sites. It relays and counts; cut, it takes connections and bytes and says nothing, as a dead line
/// does, and what was begun meanwhile is lost for good. Cut one way only, connections come about, and one end is not heard.
/// </summary>
internal sealed class LinkProxy : IAsyncDisposable
{
    private const int BufferBytes = 64 << 10;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<int> _target;
    private readonly Task _accepting;
    private readonly Way _forward = new(), _backward = new();
    private long _bytesForward;

    /// <param name="target">The port behind it, on loopback; asked anew for each connection.</param>
    internal LinkProxy(Func<int> target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    internal int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;
    /// <summary>What has passed from those who connect to the port behind it.</summary>
    internal long BytesForward => Interlocked.Read(ref _bytesForward);
    private bool IsDead => _forward.IsCut && _backward.IsCut;

    internal void Open(LinkWays ways)
    {
        _forward.Open(ways.HasFlag(LinkWays.Forward));
        _backward.Open(ways.HasFlag(LinkWays.Backward));
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                _ = RelayAsync(socket);
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task RelayAsync(Socket near)
    {
        using var far = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        using (near)
            try
            {
                near.NoDelay = true;
                // Nobody hears of a connection that is made while the line is dead, not even later.
                if (IsDead) await Task.Delay(Timeout.InfiniteTimeSpan, _stop.Token);
                await far.ConnectAsync(IPAddress.Loopback, _target(), _stop.Token);
                await Task.WhenAll(PumpAsync(near, far, _forward), PumpAsync(far, near, _backward));
            }
            catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // Either end is gone; so is the other now.
            }
    }

    private async Task PumpAsync(Socket from, Socket to, Way way)
    {
        var buffer = new byte[BufferBytes];
        try
        {
            while (true)
            {
                await way.OpenAsync(_stop.Token);
                var got = await from.ReceiveAsync(buffer, _stop.Token);
                await way.OpenAsync(_stop.Token);
                if (got == 0) break;
                for (var sent = 0; sent < got;) sent += await to.SendAsync(buffer.AsMemory(sent, got - sent), _stop.Token);
                if (way == _forward) Interlocked.Add(ref _bytesForward, got);
            }
            to.Shutdown(SocketShutdown.Send);
        }
        catch
        {
            // As abruptly as it happened here.
            await way.OpenAsync(_stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            from.Close(0);
            to.Close(0);
            throw;
        }
    }

    /// <summary>What comes one way passes, or waits until it may.</summary>
    private sealed class Way
    {
        private volatile TaskCompletionSource _open = Opened();

        internal bool IsCut => !_open.Task.IsCompleted;

        internal void Open(bool open)
        {
            if (open) _open.TrySetResult();
            else if (!IsCut) _open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        internal Task OpenAsync(CancellationToken stop) => _open.Task.WaitAsync(stop);

        private static TaskCompletionSource Opened()
        {
            var open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            open.SetResult();
            return open;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        _stop.Dispose();
    }
}
