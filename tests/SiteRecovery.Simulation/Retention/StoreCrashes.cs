using System.Runtime.ExceptionServices;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Runs a script, and after every single I/O looks at what a crash would leave there.</summary>
/// <param name="oneIn">Or after one of so many, at random.</param>
internal sealed class StoreCrashes(int seed, int steps, int oneIn = 1)
{
    private readonly StoreScript _script = new(seed, steps);
    private readonly Random _random = new(seed);
    private readonly SimDisk _disk = new();
    private ExceptionDispatchInfo? _failure;
    private int _current, _durable = -1;

    internal long Images { get; private set; }
    internal long Ios => _disk.Changes;

    /// <param name="losses">Of power, after each I/O, beside a kill.</param>
    internal void Run(int losses)
    {
        var run = new StoreRun(_disk, _script.Options, new SimClock());
        _disk.After = io => Crash(io, losses);
        for (_current = 0; _current < _script.Steps.Count; _current++)
        {
            _script.Steps[_current].Do(run);
            _failure?.Throw();
            if (_script.Steps[_current].Durable) _durable = _current;
        }
        _failure?.Throw();
    }

    private void Crash(SimIo io, int losses)
    {
        if (_failure is not null || (oneIn > 1 && _random.Next(oneIn) > 0)) return;
        try
        {
            Look(_disk.Kill(), io, "killed");
            for (var i = 0; i < losses; i++)
            {
                var loss = _random.Next();
                Look(_disk.LosePower(loss), io, $"without power ({loss})");
            }
        }
        catch (Exception failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
        }
    }

    private void Look(SimDisk image, SimIo io, string how)
    {
        Images++;
        var twice = _random.Next(8) == 0;
        try
        {
            // Opening writes too: it may be cut short itself.
            if (twice && StoreRun.IsOn(image)) image = CutShort(image);
            new StoreImage(_script, image, _current, _durable, _random.Next()).Check(all: _random.Next(16) == 0);
            // What it has said since is durable in its turn.
            if (_random.Next(4) == 0) new StoreImage(_script, image.LosePower(_random.Next()), _current, _current, _random.Next()).Check(all: false);
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"{how}{(twice ? " twice" : "")} after {io}, in step {_current} {_script.Steps[_current].Name}: {failure.Message}", failure);
        }
    }

    private SimDisk CutShort(SimDisk image)
    {
        var (at, next) = (_random.Next(1, 8), image);
        image.After = io =>
        {
            if (io.Number == at) next = _random.Next(2) == 0 ? image.Kill() : image.LosePower(_random.Next());
        };
        var run = new StoreRun(image, _script.Options, new SimClock());
        run.Open();
        image.After = null;
        return next;
    }
}
