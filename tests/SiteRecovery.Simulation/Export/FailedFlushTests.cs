using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Export;

/// <summary>A layer is written anew behind a flush that failed: what is durable then, what stays a hole, and what counts as written.</summary>
public sealed class FailedFlushTests
{
    private const int Cluster = 4096, DiskBytes = 24 * Cluster;
    private const string Path = "/replica/disk-0";
    private readonly byte[] _below = new byte[DiskBytes];

    public FailedFlushTests() => new Random(1).NextBytes(_below);

    /// <summary>The process was killed before it flushed the map, and the next one's flush of it fails: the one after that would succeed and write nothing.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void What_is_flushed_after_an_opening_that_failed_is_durable(int seed)
    {
        SimDisk disk = NewDisk(), killed = disk;
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(2 * Cluster, 7));
        disk.Faults = io =>
        {
            if (io.Kind == IoKind.Flush && io.Path.EndsWith(".map", StringComparison.Ordinal)) killed = disk.Kill();
            return Fault.None;
        };
        layer.Flush();

        killed.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".map", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => new OverlayFile(new SimMemory(_below), Path, killed));
        killed.Faults = null;
        using (var again = new OverlayFile(new SimMemory(_below), Path, killed.Kill()))
        {
            Assert.True(again.MayHaveForgotten);
        }
        var open = new OverlayFile(new SimMemory(_below), Path, killed);
        open.Flush();
        Assert.Equal(Bytes(2 * Cluster, 7), Read(new OverlayFile(new SimMemory(_below), Path, killed.LosePower(seed)), 0, 2 * Cluster));
    }

    /// <summary>There may be no room for a disk of zeroes.</summary>
    [Fact]
    public void Zeroes_of_a_layer_stay_holes()
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(Cluster, 7));
        layer.Zero(4 * Cluster, 8 * Cluster);
        layer.Flush();
        layer.Write(0, Bytes(512, 7));
        var again = AfterAFlushThatFailed(layer, disk);
        Assert.Equal((8 * Cluster, true), again.RunAt(4 * Cluster));
        Assert.Equal(Bytes(Cluster, 7), Read(again, 0, Cluster));
        Assert.Equal(new byte[8 * Cluster], Read(again, 4 * Cluster, 8 * Cluster));
    }

    /// <summary>That a cluster was written to after it had been filled may be what the flush lost.</summary>
    [Fact]
    public void What_was_written_over_a_fill_is_told_also_where_that_was_forgotten()
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        for (var next = layer.FlattenFrom(0); next is { } more; next = layer.FlattenFrom(more.Next)) Assert.True(more.Copied > 0);
        layer.Write(3 * Cluster, Bytes(Cluster, 7));
        var filledAt = 3 * Cluster; // the third bitmap: a page each for header, live and durable lies before it
        var again = AfterAFlushThatFailed(layer, disk, map =>
        {
            var all = (stackalloc byte[DiskBytes / Cluster / 8]);
            all.Fill(byte.MaxValue);
            map.Write(filledAt, all);
        });
        Assert.Equal([(3L * Cluster, (long)Cluster)], again.WrittenRuns());
    }

    /// <summary>A fold leaves out what counts as filled: what is in doubt once stays so for every process, wherever the one that found out was cut short.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void What_was_written_over_a_fill_is_told_by_every_process_after_that(int seed)
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        for (var next = layer.FlattenFrom(0); next is { } more; next = layer.FlattenFrom(more.Next)) Assert.True(more.Copied > 0);
        layer.Write(3 * Cluster, Bytes(Cluster, 7));
        // The data comes to the disk, the map does not.
        disk.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".map", StringComparison.Ordinal) ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(layer.Flush);
        disk.Faults = null;
        layer.Dispose();
        using (var map = disk.Open(Path + ".map", FileOpening.ReadWrite)) map.Write(3 * Cluster, Bytes(DiskBytes / Cluster / 8, byte.MaxValue)); // the third bitmap, as the disk has it
        var (random, images) = (new Random(seed), new List<SimDisk>());
        disk.After = _ => images.AddRange([disk.Kill(), disk.LosePower(random.Next()), disk.LosePower(random.Next())]);
        var again = new OverlayFile(new SimMemory(_below), Path, disk);
        again.ForgetFailedFlush();
        disk.After = null;
        images.AddRange([disk, disk.Kill(), disk.LosePower(seed)]);
        foreach (var image in images) Assert.Equal([(3L * Cluster, (long)Cluster)], new OverlayFile(new SimMemory(_below), Path, image).WrittenRuns());
    }

    /// <summary>Opened anew it would acknowledge a flush that writes nothing.</summary>
    [Fact]
    public void A_failed_flush_that_no_note_could_be_taken_of_is_known_to_the_process()
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(2 * Cluster, 7));
        disk.Faults = io => io.Kind is IoKind.Flush or IoKind.Write ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(layer.Flush);
        layer.Dispose();
        disk.Faults = io => io.Kind == IoKind.Write ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => new OverlayFile(new SimMemory(_below), Path, disk)); // nor is it opened before
        disk.Faults = null;

        var again = new OverlayFile(new SimMemory(_below), Path, disk);
        Assert.True(again.MayHaveForgotten);
        again.Flush();
        for (var seed = 1; seed < 5; seed++) Assert.Equal(Bytes(2 * Cluster, 7), Read(new OverlayFile(new SimMemory(_below), Path, disk.LosePower(seed)), 0, 2 * Cluster));
        again.ForgetFailedFlush();
        Assert.False(new OverlayFile(new SimMemory(_below), Path, disk).MayHaveForgotten);
    }

    /// <summary>An operating system may drop at any time what it could not write. What the guest has not written, and has not been told of, is as it was all the same.</summary>
    [Fact]
    public void What_was_copied_up_from_below_outlives_a_flush_that_failed()
    {
        var lost = 0;
        for (var seed = 0; seed < 20; seed++)
        {
            var disk = NewDisk();
            var layer = new OverlayFile(new SimMemory(_below), Path, disk);
            layer.Write(2048, Bytes(512, 7));
            layer.Write(3 * Cluster, Bytes(seed * 512, 7)); // another number of I/Os, and other sectors that are lost
            for (var next = layer.FlattenFrom(8 * Cluster); next is { } more; next = layer.FlattenFrom(more.Next)) Assert.True(more.Copied > 0);
            for (var i = 0; i < seed; i++) layer.Write(4 * Cluster, Bytes(512, 7));
            Fail(layer, disk);
            disk.Evict();
            using var again = new OverlayFile(new SimMemory(_below), Path, disk);
            Assert.Equal(_below[..2048], Read(again, 0, 2048));
            Assert.Equal(_below[2560..(3 * Cluster)], Read(again, 2560, (3 * Cluster) - 2560));
            Assert.Equal(_below[(8 * Cluster)..], Read(again, 8 * Cluster, DiskBytes - (8 * Cluster)));
            var written = Read(again, 2048, 512);
            Assert.True(written.AsSpan().SequenceEqual(Bytes(512, 7)) || written.AsSpan().SequenceEqual(_below.AsSpan(2048, 512)));
            if (written[0] != 7) lost++;
        }
        Assert.InRange(lost, 1, 19);
    }

    /// <summary>Zeroes would be silently wrong.</summary>
    [Fact]
    public void Of_what_cannot_be_put_back_the_disk_says_that_it_is_lost()
    {
        SimDisk disk = NewDisk(), rotten = NewDisk();
        rotten.Replace("/replica/below", _below);
        var layer = new OverlayFile(rotten.Open("/replica/below", FileOpening.Read), Path, disk);
        layer.Write(2048, Bytes(512, 7));
        Fail(layer, disk);
        disk.Evict();
        rotten.Faults = io => io.Kind == IoKind.Read ? Fault.Error : Fault.None;
        var again = new OverlayFile(rotten.Open("/replica/below", FileOpening.Read), Path, disk);
        Assert.Throws<IOException>(() => Read(again, 0, 512));
        rotten.Faults = null;
        Assert.Equal(_below[..2048], Read(again, 0, 2048));
    }

    /// <summary>A guest that has seen its disk without it must not see it come back, wherever the first opening behind it was cut short.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_loss_of_power_has_undone_does_not_come_back_behind_a_flush_that_failed(bool isKilled)
    {
        for (var seed = 0; seed < 20; seed++)
        {
            var disk = NewDisk();
            new OverlayFile(new SimMemory(_below), Path, disk).Write(0, Bytes(Cluster, 7));
            disk = disk.LosePower(seed);
            if (isKilled)
            {
                var images = new List<SimDisk> { disk.Kill() };
                disk.After = _ => images.Add(disk.Kill());
                new OverlayFile(new SimMemory(_below), Path, disk).Dispose();
                disk = images[seed % images.Count];
            }
            var layer = new OverlayFile(new SimMemory(_below), Path, disk);
            Assert.Equal(_below[..Cluster], Read(layer, 0, Cluster));
            layer.Write(512, Bytes(512, 8));
            Fail(layer, disk);
            disk.Evict();
            using var again = new OverlayFile(new SimMemory(_below), Path, disk);
            Assert.Equal(_below[..512], Read(again, 0, 512));
            Assert.Equal(_below[1024..Cluster], Read(again, 1024, Cluster - 1024));
        }
    }

    /// <summary>The flush behind the clearing fails: the next opening finds holes that the disk does not have.</summary>
    [Fact]
    public void What_a_loss_of_power_has_undone_is_cleared_also_where_the_flush_of_that_has_failed()
    {
        for (var seed = 0; seed < 20; seed++)
        {
            var disk = NewDisk();
            new OverlayFile(new SimMemory(_below), Path, disk).Write(0, Bytes(Cluster, 7));
            disk = disk.LosePower(seed);
            disk.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".data", StringComparison.Ordinal) ? Fault.Error : Fault.None;
            try
            {
                new OverlayFile(new SimMemory(_below), Path, disk).Dispose();
            }
            catch (IOException)
            {
            }
            disk.Faults = null;
            var layer = new OverlayFile(new SimMemory(_below), Path, disk);
            layer.ForgetFailedFlush();
            disk.Evict();
            Assert.Equal(_below[..Cluster], Read(layer, 0, Cluster));
            layer.Write(512, Bytes(512, 8));
            Fail(layer, disk);
            disk.Evict();
            using var again = new OverlayFile(new SimMemory(_below), Path, disk);
            Assert.Equal(_below[..512], Read(again, 0, 512));
            Assert.Equal(_below[1024..Cluster], Read(again, 1024, Cluster - 1024));
        }
    }

    /// <summary>What lies below is not lost: it is only not given to whoever flushes for a fence.</summary>
    [Fact]
    public void Layers_that_are_flushed_for_a_fence_lose_nothing_that_the_disk_still_shows()
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Zero(0, Cluster);
        layer.Write(0, Bytes(512, 7));
        Fail(layer, disk);
        Assert.Throws<IOException>(() => ReplicaLayers.FlushStored("/replica", disk)); // no page was dropped: all of it is kept
        using var again = new OverlayFile(new SimMemory(_below), Path, disk);
        Assert.Equal(Bytes(512, 7), Read(again, 0, 512));
    }

    /// <summary>The disk may take it a moment later, and the process may not be there when the layer is opened next.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_note_that_could_not_be_taken_is_taken_later(bool byAFlush)
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(2 * Cluster, 7));
        disk.Faults = io => io.Kind is IoKind.Flush or IoKind.Write ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(layer.Flush);
        disk.Faults = null;
        if (byAFlush) Assert.Throws<IOException>(layer.Flush);
        else layer.Dispose();
        using var again = new OverlayFile(new SimMemory(_below), Path, disk.Kill());
        Assert.True(again.MayHaveForgotten);
    }

    /// <summary>Stopped half way, it is written anew from the beginning the next time.</summary>
    [Fact]
    public void Writing_a_layer_anew_can_be_stopped()
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(Cluster, 7));
        Fail(layer, disk);
        Assert.Throws<OperationCanceledException>(() => new OverlayFile(new SimMemory(_below), Path, disk, stop: new CancellationToken(canceled: true)));
        using var again = new OverlayFile(new SimMemory(_below), Path, disk);
        Assert.True(again.MayHaveForgotten);
        Assert.Equal(Bytes(Cluster, 7), Read(new OverlayFile(new SimMemory(_below), Path, disk.LosePower(3)), 0, Cluster));
    }

    /// <summary>After a loss of power the map is begun anew: what is written then may be forgotten as well.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_map_that_could_not_be_begun_is_in_doubt(int flush)
    {
        var disk = NewDisk();
        var layer = new OverlayFile(new SimMemory(_below), Path, disk);
        layer.Write(0, Bytes(Cluster, 7));
        layer.Flush();
        var booted = disk.LosePower(1);
        booted.Faults = io => io.Kind == IoKind.Flush && io.Path.EndsWith(".map", StringComparison.Ordinal) && --flush == 0 ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(() => new OverlayFile(new SimMemory(_below), Path, booted));
        using var again = new OverlayFile(new SimMemory(_below), Path, booted);
        Assert.True(again.MayHaveForgotten);
    }

    /// <summary>A store that has rotted must not keep what was written over it from being told.</summary>
    [Fact]
    public void What_lies_over_something_lost_counts_as_written_where_that_is_in_doubt()
    {
        var (disk, rotten) = (NewDisk(), NewDisk());
        rotten.Replace("/replica/below", _below);
        var layer = new OverlayFile(rotten.Open("/replica/below", FileOpening.Read), Path, disk);
        for (var next = layer.FlattenFrom(0); next is { } more; next = layer.FlattenFrom(more.Next)) Assert.True(more.Copied > 0);
        layer.Write(3 * Cluster, Bytes(Cluster, 7));
        layer.Dispose();
        rotten.Faults = io => io.Kind == IoKind.Read && io.Offset == 5 * Cluster ? Fault.Error : Fault.None;
        var again = new OverlayFile(rotten.Open("/replica/below", FileOpening.Read), Path, disk.LosePower(1));
        Assert.Equal([(3L * Cluster, (long)Cluster), (5L * Cluster, Cluster)], again.WrittenRuns());
    }

    /// <summary>Its fence says where a replica ended, and nobody may have it open then.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void What_layers_show_that_are_not_open_survives_once_they_are_flushed(int seed)
    {
        var disk = NewDisk();
        new OverlayFile(new SimMemory(_below), Path, disk).Write(0, Bytes(2 * Cluster, 7));
        disk.Replace("/replica/disk-1.map", []); // of a disk that nobody has written to yet, and none at all
        var killed = disk.Kill();
        ReplicaLayers.FlushStored("/replica", killed);
        Assert.Equal(Bytes(2 * Cluster, 7), Read(new OverlayFile(new SimMemory(_below), Path, killed.LosePower(seed)), 0, 2 * Cluster));
    }

    /// <summary>What was copied up from below can be put back over that alone, and must not become durable without it.</summary>
    [Fact]
    public void Layers_behind_a_flush_that_failed_are_left_as_they_are_until_they_are_opened()
    {
        for (var seed = 0; seed < 5; seed++)
        {
            var disk = NewDisk();
            var layer = new OverlayFile(new SimMemory(_below), Path, disk);
            layer.Write(2048, Bytes(512, 7));
            for (var i = 0; i < seed; i++) layer.Write(4 * Cluster, Bytes(512, 7)); // other sectors are lost
            var other = new OverlayFile(new SimMemory(_below), "/replica/disk-1", disk);
            other.Write(0, Bytes(Cluster, 8));
            Fail(layer, disk);
            disk.Evict();
            Assert.Throws<IOException>(() => ReplicaLayers.FlushStored("/replica", disk));
            Assert.Equal(Bytes(Cluster, 8), Read(new OverlayFile(new SimMemory(_below), "/replica/disk-1", disk.LosePower(seed)), 0, Cluster));
            var again = new OverlayFile(new SimMemory(_below), Path, disk);
            Assert.Equal(_below[..2048], Read(again, 0, 2048));
            Assert.Equal(_below[2560..Cluster], Read(again, 2560, Cluster - 2560));
        }
    }

    private OverlayFile AfterAFlushThatFailed(OverlayFile layer, SimDisk disk, Action<IBlockFile>? meanwhile = null)
    {
        Fail(layer, disk);
        if (meanwhile is not null)
            using (var map = disk.Open(Path + ".map", FileOpening.ReadWrite)) meanwhile(map);
        return new OverlayFile(new SimMemory(_below), Path, disk);
    }

    private static void Fail(OverlayFile layer, SimDisk disk)
    {
        disk.Faults = io => io.Kind == IoKind.Flush ? Fault.Error : Fault.None;
        Assert.Throws<IOException>(layer.Flush);
        disk.Faults = null;
        layer.Dispose();
    }

    private static SimDisk NewDisk()
    {
        var disk = new SimDisk();
        disk.CreateDirectory("/replica");
        return disk;
    }

    private static byte[] Bytes(int length, byte of) => [.. Enumerable.Repeat(of, length)];

    private static byte[] Read(OverlayFile layer, long offset, int length)
    {
        var bytes = new byte[length];
        layer.Read(offset, bytes);
        return bytes;
    }
}
