using SiteRecovery.DataPlane.Capture;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>The bitmap file after every single I/O: no block is forgotten that the target may lack.</summary>
public sealed class BitmapCrashTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void No_block_is_forgotten_that_the_target_may_lack(int seed) => new Tracked(seed).Run(40);

    [Fact]
    public void No_block_is_forgotten_that_the_target_may_lack_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(2), seed => new Tracked(seed).Run(40));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Nor_on_a_disk_that_fails(int seed) => new Tracked(seed, failing: true).Run(60);

    [Fact]
    public void Nor_on_a_disk_that_fails_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(2), seed => new Tracked(seed, failing: true).Run(60));

    private sealed class Tracked
    {
        // More regions than stay active for ever.
        private const long DiskBytes = (1100L * BitmapFile.RegionBytes) + 77_000, Blocks = (DiskBytes + BitmapFile.BlockBytes - 1) / BitmapFile.BlockBytes;
        private const string Path = "/state/disk-0.bitmap";
        private readonly Random _random;
        private readonly HashSet<long> _unsynced = [];
        private HashSet<long> _current = [], _previous = [];
        private SimDisk _disk = new();
        private BitmapFile _bitmap = null!;
        private readonly bool _failing;
        private bool _opened;

        internal Tracked(int seed, bool failing = false) => (_random, _failing) = (new Random(seed), failing);

        internal void Run(int steps)
        {
            _disk.CreateDirectory("/state");
            _disk.After = Look;
            _bitmap = BitmapFile.Open(_disk, Path, DiskBytes, _disk.BootId, startsClean: true);
            _opened = true;
            Fail();
            for (; steps > 0; steps--) Step();
        }

        private void Fail()
        {
            if (_failing) _disk.Faults = io => io.Kind != IoKind.Read && _random.Next(5) == 0 ? (Fault)_random.Next(1, 3) : Fault.None;
        }

        /// <summary>Until the disk takes it, as its callers do.</summary>
        private static void Until(Action done)
        {
            while (true)
            {
                try
                {
                    done();
                    return;
                }
                catch (IOException)
                {
                    // Once more.
                }
            }
        }

        private void Step()
        {
            switch (_random.Next(15))
            {
                case 0: Crash(_random.Next(2) == 0 ? _disk.Kill() : _disk.LosePower(_random.Next())); break;
                case 1: Until(_bitmap.RetireRegions); break;
                case 2:
                    // Everything unsynced has arrived, say.
                    _unsynced.Clear();
                    Until(() => _bitmap.Unsynced.Clear(0, Blocks - 1));
                    break;
                case 3 or 4 when _previous.Count > 0:
                    _previous = [];
                    Until(_bitmap.ForgetPrevious);
                    break;
                case 5 or 6 when _previous.Count == 0 && _bitmap.Previous.None:
                    _bitmap.Rotate();
                    (_previous, _current) = (_current, []);
                    break;
                case 7:
                    // All of it was streamed in vain.
                    Until(_bitmap.Fold);
                    _unsynced.UnionWith(_current);
                    _unsynced.UnionWith(_previous);
                    break;
                case 8:
                    // Lost by the target, though nobody wrote it here.
                    var block = _random.NextInt64(Blocks);
                    Until(() =>
                    {
                        _bitmap.Unsynced.Set(block, block);
                        _bitmap.Flush();
                    });
                    _unsynced.Add(block);
                    break;
                default: Write(); break;
            }
            foreach (var block in _unsynced)
                if (!_bitmap.Unsynced[block]) Assert.Fail($"block {block} is forgotten");
        }

        /// <summary>The write itself comes after the mark.</summary>
        private void Write()
        {
            var long_ = _random.Next(8) == 0;
            var first = _random.NextInt64(Blocks);
            var last = Math.Min(Blocks - 1, first + (long_ ? _random.NextInt64(Blocks) : _random.Next(3)));
            try
            {
                _bitmap.Mark(first * BitmapFile.BlockBytes, Math.Min(DiskBytes, (last + 1) * BitmapFile.BlockBytes) - first * BitmapFile.BlockBytes);
            }
            catch (IOException) when (_failing)
            {
                return; // nothing is written
            }
            for (var block = first; block <= last; block++) _current.Add(block);
            if (_random.Next(3) > 0) return;
            try
            {
                _bitmap.Unsynced.Set(first, last);
            }
            catch (IOException) when (_failing)
            {
                // Whoever lives on knows it all the same.
            }
            for (var block = first; block <= last; block++) _unsynced.Add(block);
        }

        private void Crash(SimDisk image)
        {
            _disk.TurnOff();
            _disk = image;
            _unsynced.UnionWith(_current);
            _unsynced.UnionWith(_previous);
            (_current, _previous) = ([], []);
            _disk.After = Look;
            _bitmap = BitmapFile.Open(_disk, Path, DiskBytes, _disk.BootId);
            Assert.Null(_bitmap.LostReason);
            Fail();
        }

        private void Look(SimIo io)
        {
            AssertAll(_disk.Kill(), $"killed after {io}");
            var loss = _random.Next();
            AssertAll(_disk.LosePower(loss), $"without power ({loss}) after {io}");
        }

        private void AssertAll(SimDisk image, string how)
        {
            var bitmap = BitmapFile.Open(image, Path, DiskBytes, image.BootId, startsClean: !_opened);
            Assert.True(!_opened || bitmap.LostReason is null, $"{how}: {bitmap.LostReason}");
            foreach (var block in _unsynced.Concat(_current).Concat(_previous))
                if (!bitmap.Unsynced[block]) Assert.Fail($"{how}: block {block} is forgotten");
        }
    }
}
