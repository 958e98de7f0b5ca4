using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Storage;

/// <summary>What the simulated disk can do that no test can ask of a real one.</summary>
public sealed class SimDiskTests
{
    private const string Path = "/d/file";
    private readonly SimDisk _disk = new();
    private readonly IBlockFile _file;

    public SimDiskTests()
    {
        _disk.CreateDirectory("/d");
        _file = _disk.Open(Path, FileOpening.Create);
    }

    [Fact]
    public void A_killed_process_loses_nothing_yet_its_writes_are_not_durable()
    {
        Write(0, 1, 4096);
        var next = _disk.Kill();
        Assert.Equal(All(1, 4096), next.TryReadAll(Path));
        Assert.Contains(Enumerable.Range(0, 20), seed => next.LosePower(seed).TryReadAll(Path) is null);
        Assert.Equal(_disk.BootId, next.BootId);
        Assert.NotEqual(_disk.BootId, next.LosePower(1).BootId);
    }

    [Fact]
    public void What_was_flushed_with_its_name_survives_every_loss_of_power()
    {
        Write(0, 1, 10_000);
        _file.Flush();
        _disk.FlushFolder("/d");
        Assert.All(Enumerable.Range(0, 100), seed => Assert.Equal(All(1, 10_000), _disk.LosePower(seed).TryReadAll(Path)));
    }

    [Fact]
    public void A_file_whose_name_was_not_flushed_may_be_gone_though_its_data_was()
    {
        Write(0, 1, 100);
        _file.Flush();
        var seen = Enumerable.Range(0, 50).Select(seed => _disk.LosePower(seed).TryReadAll(Path)).ToArray();
        Assert.Contains(seen, bytes => bytes is null);
        Assert.Contains(seen, bytes => bytes is not null);
        Assert.All(seen, bytes => Assert.True(bytes is null || bytes.AsSpan().SequenceEqual(All(1, 100))));
    }

    [Fact]
    public void Writes_that_were_not_flushed_are_kept_lost_torn_and_reordered()
    {
        Write(0, 1, 8192);
        _file.Flush();
        _disk.FlushFolder("/d");
        Write(0, 2, 4096);
        Write(4096, 3, 4096);
        var seen = Enumerable.Range(0, 200).Select(seed => _disk.LosePower(seed).TryReadAll(Path)!).ToArray();
        Assert.All(seen, bytes => Assert.All(bytes.Chunk(SimDisk.SectorBytes), sector => Assert.Single(sector.Distinct())));
        Assert.Contains(seen, b => b[0] == 1 && b[8191] == 1);
        Assert.Contains(seen, b => b.Distinct().ToArray() is [2, 3]);
        Assert.Contains(seen, b => b[..4096].Distinct().Count() == 2);
        Assert.Contains(seen, b => b[0] == 1 && b[4095] == 1 && b[4096] == 3);
    }

    [Fact]
    public void The_same_seed_leaves_the_same_disk()
    {
        for (var i = 0; i < 20; i++) Write(i * 700, (byte)i, 900);
        Assert.All(Enumerable.Range(0, 30), seed => Assert.Equal(_disk.LosePower(seed).TryReadAll(Path), _disk.LosePower(seed).TryReadAll(Path)));
    }

    [Fact]
    public void A_rename_happens_as_a_whole_or_not()
    {
        Write(0, 1, 10);
        _file.Flush();
        _disk.FlushFolder("/d");
        _disk.Rename(Path, "/d/other");
        Assert.All(Enumerable.Range(0, 50), seed => Assert.Single(_disk.LosePower(seed).List("/d")));
        Assert.Equal(2, Enumerable.Range(0, 50).Select(seed => _disk.LosePower(seed).List("/d")[0]).Distinct().Count());
    }

    [Fact]
    public void A_full_disk_takes_what_fits_and_has_room_again_when_something_goes()
    {
        _disk.CapacityBytes = 3 * 4096;
        Write(0, 1, 4096);
        using var other = _disk.Open("/d/other", FileOpening.Create);
        Assert.Contains("No space", Assert.Throws<IOException>(() => other.Write(100, All(2, 20_000))).Message, StringComparison.Ordinal);
        Assert.Equal(8192, other.LengthBytes);
        Assert.Equal(0, _disk.FreeBytes("/d"));
        Write(0, 3, 4096); // no more room is needed for that
        _file.Dispose();
        _disk.Delete(Path);
        other.Write(8192, All(2, 4096));
    }

    [Fact]
    public void What_a_failed_flush_left_is_not_made_durable_by_the_next_one()
    {
        Write(0, 1, 64 << 10);
        _disk.FlushFolder("/d");
        _disk.Faults = io => io.Kind == IoKind.Flush ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(_file.Flush);
        _disk.Faults = null;
        _file.Flush();
        Assert.Equal(All(1, 64 << 10), _disk.TryReadAll(Path));
        Assert.NotEqual(All(1, 64 << 10), _disk.LosePower(1).TryReadAll(Path));
    }

    [Fact]
    public void A_torn_write_leaves_half_of_itself()
    {
        _disk.Faults = io => io.Kind == IoKind.Write ? Fault.Torn : Fault.None;
        Assert.Throws<IOException>(() => Write(0, 1, 4096));
        Assert.Equal(All(1, 2048), _disk.TryReadAll(Path));
    }

    [Fact]
    public void A_bad_sector_cannot_be_read_until_it_is_written()
    {
        Write(0, 1, 16384);
        _disk.Spoil(Path, 5000);
        _file.Read(0, new byte[4096]);
        Assert.Throws<IOException>(() => _file.Read(8191, new byte[1])); // no less than a page is read
        _disk.FlushFolder("/d");
        Assert.Throws<IOException>(() => _disk.LosePower(1).Kill().TryReadAll(Path));
        Assert.Throws<IOException>(() => Write(4608, 2, 512)); // nor written
        Assert.Throws<IOException>(() => _file.SetLength(5000));
        Write(4000, 2, 4192);
        Assert.Equal(2, _disk.TryReadAll(Path)![5000]);
        _disk.Spoil(Path, 12288);
        _file.SetLength(12288);
        Write(12288, 3, 1);
        Assert.Equal(3, _disk.TryReadAll(Path)![12288]);
    }

    [Fact]
    public void Rot_is_on_the_disk_whether_flushed_or_not()
    {
        Write(0, 1, 10);
        _file.Flush();
        _disk.FlushFolder("/d");
        _disk.Flip(Path, 3, 0x80);
        Assert.Equal(0x81, _disk.TryReadAll(Path)![3]);
        Assert.Equal(0x81, _disk.LosePower(1).TryReadAll(Path)![3]);
    }

    [Fact]
    public void Who_still_runs_on_a_host_that_is_off_reaches_nothing()
    {
        var next = _disk.Kill();
        _disk.TurnOff();
        Assert.Throws<IOException>(() => Write(0, 1, 1));
        Assert.Empty(next.TryReadAll(Path)!);
    }

    [Fact]
    public void A_slow_disk_costs_virtual_time()
    {
        var clock = new SimClock();
        var before = clock.GetUtcNow();
        _disk.Cost = io => clock.Spend(TimeSpan.FromMilliseconds(io.Kind == IoKind.Flush ? 20 : 1));
        Write(0, 1, 1);
        _file.Flush();
        Assert.Equal(TimeSpan.FromMilliseconds(21), clock.GetUtcNow() - before);
    }

    private void Write(long offset, byte value, int count) => _file.Write(offset, All(value, count));

    private static byte[] All(byte value, int count) => Enumerable.Repeat(value, count).ToArray();
}
