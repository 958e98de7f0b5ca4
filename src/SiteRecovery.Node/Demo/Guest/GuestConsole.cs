using System.Globalization;
using System.Net.Sockets;

namespace SiteRecovery.Node.Demo.Guest;

/// <summary>
/// One life of the guest, as it tells it on its serial console. What it says is kept in a ledger of its own: one line "number life milliseconds" per acknowledgement
/// that was heard. One that was not heard, because nobody listened yet, is implied by the next.
/// </summary>
internal sealed class GuestConsole : IAsyncDisposable
{
    private readonly Socket _socket;
    private readonly StreamWriter _ledger;
    private readonly TimeProvider _time;
    private readonly Task _listening;
    private readonly Lock _gate = new();
    private readonly List<DateTimeOffset> _heardAt = [];
    private readonly TaskCompletionSource<(long Found, uint Life)> _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _refused = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private GuestConsole(Socket socket, string ledgerPath, TimeProvider time)
    {
        (_socket, _time) = (socket, time);
        _ledger = new StreamWriter(new FileStream(ledgerPath, FileMode.Append, FileAccess.Write, FileShare.Read)) { AutoFlush = true };
        _listening = Task.Run(ListenAsync);
    }

    /// <summary>What it found when it began, and which life it is.</summary>
    internal Task<(long Found, uint Life)> Begun => _begun.Task;

    /// <summary>Its disk has refused it.</summary>
    internal Task Refused => _refused.Task;

    internal bool HasEnded => _listening.IsCompleted;

    /// <summary>The newest record that it has acknowledged; 0 before it began.</summary>
    internal long Acknowledged
    {
        get
        {
            lock (_gate) return Begun.IsCompletedSuccessfully ? Begun.Result.Found + _heardAt.Count : 0;
        }
    }

    /// <param name="consoles">As the API gives them: "vnc unix:…, serial unix:PATH".</param>
    internal static async Task<GuestConsole> OpenAsync(string consoles, string ledgerPath, TimeProvider time, CancellationToken stop)
    {
        const string serial = "serial unix:";
        var path = consoles.Split(", ").FirstOrDefault(c => c.StartsWith(serial, StringComparison.Ordinal))?[serial.Length..]
            ?? throw new InvalidOperationException($"the machine has no serial console that could be listened to: {consoles}");
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), stop);
        return new GuestConsole(socket, ledgerPath, time);
    }

    /// <summary>When a record was acknowledged, by the host's clock.</summary>
    internal DateTimeOffset HeardAt(long number)
    {
        lock (_gate) return _heardAt[(int)(number - Begun.Result.Found - 1)];
    }

    /// <summary>The machine has ended, and everything that it said was heard.</summary>
    internal Task EndAsync() => _listening;

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _listening.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _ledger.DisposeAsync();
    }

    private async Task ListenAsync()
    {
        try
        {
            using var reader = new StreamReader(new NetworkStream(_socket));
            while (await reader.ReadLineAsync() is { } line) Hear(line.Trim());
        }
        catch (Exception ended) when (ended is IOException or SocketException or ObjectDisposedException)
        {
            // Its machine was killed.
        }
        _begun.TrySetException(new IOException("the machine ended before it said anything"));
    }

    /// <summary>The first line after the connection may be the end of one.</summary>
    private void Hear(string line)
    {
        if (line == "F") _refused.TrySetResult();
        if (line.Split(' ') is not ["A", { Length: 8 } number, { Length: 8 } life, { Length: 8 } found]) return;
        var (n, l, f) = (Number(number), Number(life), Number(found));
        lock (_gate)
        {
            _begun.TrySetResult((f, l));
            var now = _time.GetUtcNow();
            while (f + _heardAt.Count < n) _heardAt.Add(now);
        }
        _ledger.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{n} {l} {_time.GetUtcNow().ToUnixTimeMilliseconds()}"));
    }

    private static uint Number(string text) => uint.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}
