using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.Node.Demo;

/// <summary>
/// An NBD disk as a guest with QEMU's reconnect-delay sees it: where the connection breaks, a new one is made for so long, and the write
/// that was not acknowledged is issued again. What the server refuses is the caller's to know.
/// </summary>
public sealed class ReconnectingDisk(NbdAddress address, TimeSpan reconnectDelay, TimeProvider time) : IAsyncDisposable
{
    private static readonly TimeSpan RetryEvery = TimeSpan.FromMilliseconds(20);
    private NbdClient? _connection;

    /// <summary>Connects; the disk's size in bytes.</summary>
    public async Task<long> OpenAsync(CancellationToken stop)
    {
        _connection = await address.OpenAsync(stop);
        return _connection.SizeBytes;
    }

    public async Task WriteAsync(long offset, ReadOnlyMemory<byte> from)
    {
        long? lostAt = null;
        while (true)
        {
            try
            {
                _connection ??= await address.OpenAsync(CancellationToken.None);
                await _connection.WriteAsync(offset, from, forceUnitAccess: false, CancellationToken.None);
                return;
            }
            catch (Exception lost) when (IsLoss(lost) && time.GetElapsedTime(lostAt ??= time.GetTimestamp()) < reconnectDelay)
            {
                await CloseAsync();
                await Task.Delay(RetryEvery, time);
            }
        }
    }

    // A refusal of a request bears the server's error; one of the handshake says that the disk is not served yet.
    private static bool IsLoss(Exception error) => error is SocketException or IOException and not NbdException { Errno: not 0 };

    private async Task CloseAsync()
    {
        if (_connection is { } broken) await broken.DisposeAsync();
        _connection = null;
    }

    public async ValueTask DisposeAsync() => await CloseAsync();
}
