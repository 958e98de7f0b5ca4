using System.Net.Sockets;
using SiteRecovery.Node.Demo;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// Writes to each of a machine's two copies, all the time, what is there already. A copy that takes a write before and after the other one took one
/// takes writes beside it.
/// </summary>
internal sealed class CopyProbe : IAsyncDisposable
{
    /// <summary>A write that is answered later than this waits for a decision.</summary>
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(1), Pause = TimeSpan.FromMilliseconds(50);
    private readonly CancellationTokenSource _stop;
    private readonly Task _probing;
    private readonly string _source, _replica;
    private readonly long _diskBytes;

    internal CopyProbe(string source, string replica, long diskBytes, CancellationToken stop)
    {
        (_source, _replica, _diskBytes, _stop) = (source, replica, diskBytes, CancellationTokenSource.CreateLinkedTokenSource(stop));
        _probing = Task.Run(ProbeAsync, stop);
    }

    internal bool BothWrote { get; private set; }
    internal int Looks { get; private set; }

    private async Task ProbeAsync()
    {
        using var timer = new PeriodicTimer(Pause);
        while (await timer.WaitForNextTickAsync(_stop.Token))
        {
            Looks++;
            if (await TakesAsync(_source) && await TakesAsync(_replica) && await TakesAsync(_source)) BothWrote = true;
        }
    }

    private Task<bool> TakesAsync(string uri) => TakesWritesAsync(uri, _diskBytes, _stop.Token);

    /// <summary>Its last block is what the probe writes: nobody else may use that.</summary>
    internal static async Task<bool> TakesWritesAsync(string uri, long diskBytes, CancellationToken stop)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(AnswerMax);
        try
        {
            await using var disk = await NbdAddress.Parse(uri).OpenAsync(patience.Token);
            var block = new byte[BlockPattern.BlockBytes];
            await disk.ReadAsync(diskBytes - block.Length, block, patience.Token).WaitAsync(patience.Token);
            await disk.WriteAsync(diskBytes - block.Length, block, forceUnitAccess: false, patience.Token).WaitAsync(patience.Token);
            return true;
        }
        catch (Exception refused) when (refused is IOException or SocketException || (refused is OperationCanceledException && !stop.IsCancellationRequested))
        {
            return false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _probing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }
}
