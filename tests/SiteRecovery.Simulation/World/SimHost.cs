using System.Security.Cryptography;
using System.Text;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.World;

/// <summary>A host with a disk and a clock of its own, and what runs on it. It dies, between any two I/Os or inside of one, and comes back with what its disk kept.</summary>
internal abstract class SimHost
{
    /// <summary>What wraps the keys of its stores.</summary>
    internal const string KeyPath = "/keys/stores";
    private static readonly TimeSpan RestartDelay = TimeSpan.FromMilliseconds(700), EndsWithin = TimeSpan.FromSeconds(20);
    private readonly Random _random;
    private int _life;

    protected SimHost(string name, SimClock time, Random random)
    {
        (Name, Time, Clock, _random) = (name, time, new SimHostClock(time), random);
        Faults = new SimDiskFaults(this);
        Disk.CreateDirectory("/keys");
        Disk.Replace(KeyPath, SHA256.HashData(Encoding.ASCII.GetBytes(name)));
        Faults.Attach();
    }

    internal string Name { get; }
    internal SimClock Time { get; }
    internal SimHostClock Clock { get; }
    internal SimDisk Disk { get; private set; } = new();
    internal SimDiskFaults Faults { get; }
    internal bool IsUp { get; private set; }
    /// <summary>How often it was started or died.</summary>
    internal int Lives => _life;
    /// <summary>How often it lost its power.</summary>
    internal int PowerLosses { get; private set; }
    /// <summary>Told of each I/O that changed something on its disk.</summary>
    internal Action<SimIo>? Traced { get; set; }
    internal Action<string>? LostPower { get; set; }
    /// <summary>Told of each sector of a file that a flush which failed has not written.</summary>
    internal Action<string, long>? LostSector { get; set; }
    /// <summary>Told of a file of which a flush has failed.</summary>
    internal Action<string>? FlushFailed { get; set; }
    /// <summary>Told of a file that shows what is on the disk again.</summary>
    internal Action<string>? ForgotCached { get; set; }
    /// <summary>Told that what its files only showed is gone.</summary>
    internal Action<string>? Evicted { get; set; }
    /// <summary>Told what becomes of it, for people.</summary>
    internal Action<string>? Said { get; set; }

    /// <summary>Whoever starts it is a service manager: what fails to start is started again.</summary>
    internal async Task StartAsync()
    {
        if (IsUp) return;
        IsUp = true;
        Said?.Invoke($"{Name} is started");
        for (var life = ++_life; life == _life; await Task.Delay(RestartDelay, Time))
        {
            try
            {
                await RunAsync();
                return;
            }
            catch (IOException) when (life == _life)
            {
                // A disk that is full, or fails: this process ends.
                Cut();
                await EndQuietlyAsync();
            }
            catch (IOException)
            {
                return; // the host has died
            }
        }
    }

    /// <summary>From here on nothing of it runs, whatever it was doing; what is left is on the disk.</summary>
    internal void Crash(bool power)
    {
        if (!IsUp) return;
        Said?.Invoke($"{Name} dies{(power ? " without power" : "")}");
        var image = power ? Disk.LosePower(_random.Next()) : Disk.Kill();
        Disk.TurnOff();
        (Disk, IsUp) = (image, false);
        _life++;
        Faults.Attach();
        Cut();
        if (power)
        {
            PowerLosses++;
            LostPower?.Invoke(Name);
        }
        // It may be in the middle of anything, with any lock held.
        _ = Task.Run(() => EndQuietlyAsync());
    }

    /// <summary>Its memory is short: what a flush has failed to write is shown no longer.</summary>
    internal void Evict()
    {
        if (Disk.Evict()) Evicted?.Invoke(Name);
    }

    /// <summary>What runs on it is told to end, has time for it, and is killed then.</summary>
    internal async Task StopAsync()
    {
        if (!IsUp) return;
        Said?.Invoke($"{Name} is told to end");
        var life = ++_life;
        Cut();
        await Task.WhenAny(Task.Run(() => EndQuietlyAsync(itself: true)), Task.Delay(EndsWithin, Time));
        if (life == _life) Crash(power: false);
    }

    private async Task EndQuietlyAsync(bool itself = false)
    {
        try
        {
            await EndAsync(itself);
        }
        catch (Exception)
        {
            // Its disk is off, or full.
        }
    }

    /// <summary>It died while that was made: nothing of it may begin to run.</summary>
    protected static async Task DiedAsync(IAsyncDisposable made)
    {
        try
        {
            await made.DisposeAsync();
        }
        catch (IOException)
        {
            // Its disk is off.
        }
        throw new IOException("the host has died");
    }

    /// <summary>What is served or asked here is gone at once.</summary>
    protected abstract void Cut();

    /// <summary>What is left in memory of what ran is let go of. Its disk is off.</summary>
    /// <param name="itself">It is not: what ran ends as it does when it is told to.</param>
    protected abstract Task EndAsync(bool itself);

    protected abstract Task RunAsync();
}
