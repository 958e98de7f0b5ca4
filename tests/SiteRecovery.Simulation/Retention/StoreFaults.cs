using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

internal enum DiskFault { Full, Error, Torn }

/// <summary>Runs a script on a disk that fails at one I/O: the store says so, and when the disk is well again, it goes on with all that was acknowledged.</summary>
internal sealed class StoreFaults(int seed, int steps)
{
    private readonly StoreScript _script = new(seed, steps);

    /// <summary>How many I/Os the script takes on a disk that is well.</summary>
    internal long Ios()
    {
        var run = new StoreRun(new SimDisk(), _script.Options, new SimClock());
        foreach (var step in _script.Steps) step.Do(run);
        return run.Disk.Changes;
    }

    /// <param name="at">The I/O that fails; on a full disk all fail from there on that need room.</param>
    internal void Run(long at, DiskFault fault)
    {
        try
        {
            var disk = new SimDisk();
            var run = new StoreRun(disk, _script.Options, new SimClock());
            var (current, durable, failed) = RunInto(run, at, fault);
            if (failed) GoOn(run, current, durable);
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"seed {seed}, {fault} at I/O {at}: {failure.Message}", failure);
        }
    }

    private (int Current, int Durable, bool Failed) RunInto(StoreRun run, long at, DiskFault fault)
    {
        Break(run.Disk, at, fault);
        var durable = -1;
        for (var current = 0; current < _script.Steps.Count; current++)
        {
            try
            {
                _script.Steps[current].Do(run);
            }
            catch (IOException full)
            {
                Assert.Matches("No space|Input/output|takes no writes", full.Message);
                return (current, durable, true);
            }
            if (_script.Steps[current].Durable) durable = current;
        }
        return (_script.Steps.Count - 1, durable, false);
    }

    private static void Break(SimDisk disk, long at, DiskFault fault)
    {
        if (fault == DiskFault.Full)
            disk.After = io =>
            {
                if (io.Number == at) disk.CapacityBytes = disk.UsedBytes;
            };
        else
            disk.Faults = io =>
            {
                if (io.Kind == IoKind.Read || io.Number != at) return Fault.None;
                disk.Faults = null;
                return fault == DiskFault.Torn ? Fault.Torn : Fault.Error;
            };
    }

    private void GoOn(StoreRun run, int current, int durable)
    {
        var disk = run.Disk;
        (disk.CapacityBytes, disk.After, disk.Faults) = (long.MaxValue, null, null);
        if (run.Store is { FailedReason: null } && !_script.Steps[current].IsFold)
        {
            // Nothing of the log has failed: what was asked is asked again, and all goes on.
            for (; current < _script.Steps.Count; current++) _script.Steps[current].Do(run);
            durable = --current;
        }
        else if (run.Store is not null)
        {
            Assert.True(run.Store.FailedReason is { Length: > 0 } || _script.Steps[current].IsFold, "it does not say why it takes no writes");
            run.Store.Dispose();
        }
        new StoreImage(_script, disk, current, durable, seed).Check(all: true);
        // What it has said since is durable, though a flush had failed before.
        new StoreImage(_script, disk.LosePower(seed), current, current, seed).Check(all: false);
    }
}
