using SiteRecovery.DataPlane.Export;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Export;

/// <summary>A replica's layer after every single I/O: a killed process loses nothing that was written, a loss of power nothing that was flushed.</summary>
public sealed class OverlayCrashTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_was_written_survives_a_kill_and_what_was_flushed_a_loss_of_power(int seed) => new Layer(seed).Run(16);

    [Fact]
    public void What_was_written_survives_a_kill_and_what_was_flushed_a_loss_of_power_for_fresh_seeds() => Seeds.Try(TimeSpan.FromSeconds(2), seed => new Layer(seed).Run(16));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void What_is_seen_after_a_write_that_failed_is_what_the_next_life_sees(int seed) => new Layer(seed).RunOnFailingDisk(60);

    /// <summary>A flush that failed wrote a part, and the operating system takes the rest for written.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void What_is_seen_after_a_flush_that_failed_survives_a_loss_of_power(int seed) => new Layer(seed).RunOnFailingFlushes(40);

    private sealed class Layer
    {
        private const int DiskBytes = (96 << 10) + 3 * SimDisk.SectorBytes;
        private const string Folder = "/replica", Path = Folder + "/disk-0";
        private readonly Random _random;
        private readonly SimDisk _disk = new();
        private readonly byte[] _below = new byte[DiskBytes];
        // Since the last flush: what each sector may show after a loss of power.
        private readonly List<byte[]>[] _versions;
        private byte[] _before, _after;

        internal Layer(int seed)
        {
            _random = new Random(seed);
            _random.NextBytes(_below);
            (_before, _after) = (_below, _below);
            _versions = [.. Enumerable.Range(0, DiskBytes / SimDisk.SectorBytes).Select(s => (List<byte[]>)[Sector(_below, s)])];
            _disk.CreateDirectory(Folder);
            _disk.After = Look;
        }

        internal void Run(int steps)
        {
            var overlay = new OverlayFile(new SimMemory(_below), Path, _disk);
            for (; steps > 0; steps--)
            {
                switch (_random.Next(5))
                {
                    case 0:
                        overlay.Flush();
                        for (var sector = 0; sector < _versions.Length; sector++) _versions[sector] = [Sector(_after, sector)];
                        break;
                    default: Change(overlay); break;
                }
                _before = _after;
            }
            AssertEqual(_after, overlay, "the layer itself");
        }

        internal void RunOnFailingDisk(int steps)
        {
            _disk.After = null;
            var overlay = new OverlayFile(new SimMemory(_below), Path, _disk);
            var failed = 0;
            for (; steps > 0; steps--)
            {
                var left = _random.Next(1, 6);
                var how = _random.Next(2) == 0 ? Fault.Error : Fault.Torn;
                _disk.Faults = io => io.Kind is IoKind.Write or IoKind.Zero && --left == 0 ? how : Fault.None;
                try
                {
                    overlay.Write(_random.Next(DiskBytes - 9000), _below.AsSpan(0, _random.Next(1, 9000)));
                }
                catch (IOException)
                {
                    failed++;
                }
                _disk.Faults = null;
                AssertEqual(Read(overlay), new OverlayFile(new SimMemory(_below), Path, _disk.Kill()), $"{steps} steps before the end");
            }
            Assert.True(failed > 10, $"{failed} failed");
        }

        internal void RunOnFailingFlushes(int steps)
        {
            _disk.After = null;
            for (var disk = _disk; steps > 0; steps--)
            {
                var overlay = new OverlayFile(new SimMemory(_below), Path, disk);
                Change(overlay);
                _before = _after;
                if (_random.Next(2) == 0) overlay.Flush();
                Change(overlay);
                _before = _after;
                var left = _random.Next(1, 3);
                disk.Faults = io => io.Kind == IoKind.Flush && --left == 0 ? Fault.Error : Fault.None;
                Assert.Throws<IOException>(() =>
                {
                    overlay.Flush();
                    Change(overlay);
                    overlay.Flush();
                });
                disk.Faults = null;
                // The process dies of it, or goes on.
                if (_random.Next(2) == 0) disk = disk.Kill();
                var again = new OverlayFile(new SimMemory(_below), Path, disk);
                Assert.True(again.MayHaveForgotten);
                var shown = Read(again);
                if (_random.Next(2) == 0) again.ForgetFailedFlush();
                disk = disk.LosePower(_random.Next());
                AssertEqual(shown, new OverlayFile(new SimMemory(_below), Path, disk), $"{steps} steps before the end");
                (_before, _after) = (shown, shown);
            }
        }

        private void Change(OverlayFile overlay)
        {
            var bytes = _before.ToArray();
            var (zeroes, offset) = (_random.Next(3) == 0, _random.Next(DiskBytes));
            var length = _random.Next(1, Math.Min(DiskBytes - offset, 20_000) + 1);
            if (zeroes) bytes.AsSpan(offset, length).Clear();
            else _random.NextBytes(bytes.AsSpan(offset, length));
            _after = bytes;
            for (var sector = offset / SimDisk.SectorBytes; sector * SimDisk.SectorBytes < offset + length; sector++) _versions[sector].Add(Sector(bytes, sector));
            if (zeroes) overlay.Zero(offset, length);
            else overlay.Write(offset, bytes.AsSpan(offset, length));
        }

        private void Look(SimIo io)
        {
            AssertShows(_disk.Kill(), (sector, shown) => shown.AsSpan().SequenceEqual(Sector(_before, sector)) || shown.AsSpan().SequenceEqual(Sector(_after, sector)), $"killed after {io}");
            for (var i = 0; i < 2; i++)
            {
                var loss = _random.Next();
                AssertShows(_disk.LosePower(loss), (sector, shown) => _versions[sector].Exists(v => v.AsSpan().SequenceEqual(shown)), $"without power ({loss}) after {io}");
            }
        }

        private void AssertShows(SimDisk image, Func<int, byte[], bool> mayShow, string how)
        {
            var overlay = new OverlayFile(new SimMemory(_below), Path, image);
            var shown = Read(overlay);
            for (var sector = 0; sector < _versions.Length; sector++) Assert.True(mayShow(sector, Sector(shown, sector)), $"{how}: sector {sector} shows what was not there");
            var told = new bool[DiskBytes];
            foreach (var (offset, length) in overlay.WrittenRuns()) told.AsSpan((int)offset, (int)length).Fill(true);
            for (var at = 0; at < DiskBytes; at++) Assert.True(told[at] || shown[at] == _below[at], $"{how}: what differs at {at} is not told");
            // It goes on, and what it takes and flushes now survives the next loss.
            var where = _random.Next(DiskBytes - 5000);
            overlay.Write(where, _below.AsSpan(0, 5000));
            _below.AsSpan(0, 5000).CopyTo(shown.AsSpan(where));
            overlay.Flush();
            AssertEqual(shown, new OverlayFile(new SimMemory(_below), Path, image.LosePower(_random.Next())), how + ", and again");
        }

        private static void AssertEqual(byte[] expected, OverlayFile overlay, string what) => Assert.True(expected.AsSpan().SequenceEqual(Read(overlay)), $"{what}: other bytes");

        private static byte[] Sector(byte[] bytes, int sector) => bytes[(sector * SimDisk.SectorBytes)..((sector + 1) * SimDisk.SectorBytes)];

        private static byte[] Read(OverlayFile overlay)
        {
            var bytes = new byte[DiskBytes];
            overlay.Read(0, bytes);
            return bytes;
        }
    }
}
