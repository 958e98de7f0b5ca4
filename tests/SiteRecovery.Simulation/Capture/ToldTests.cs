using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>What a target has said is durable is known to the next process too: a target that has less then has lost what no bit says.</summary>
public sealed class ToldTests
{
    private const int DiskBytes = 4 << 20;
    private const string Folder = "/agent/machines/m1", DiskPath = "/disks/m1.img", MarkPath = Folder + "/durable";
    private readonly SimDisk _disk = new();
    private readonly TakingTarget _target = new();

    public ToldTests()
    {
        foreach (var folder in (string[])["/disks", Folder]) _disk.CreateDirectory(folder);
        using var file = _disk.Open(DiskPath, FileOpening.Create);
        file.SetLength(DiskBytes);
    }

    /// <summary>In every state in which a process may be killed, from the first clearing of a bit on, the mark covers what was cleared.</summary>
    [Theory, InlineData(Fault.Error), InlineData(Fault.Torn)]
    internal async Task A_mark_that_cannot_be_written_forgets_nothing_that_was_told(Fault fault)
    {
        var capture = await OpenAsync(_disk);
        await WriteAsync(capture, 0);
        await _target.CatchUpAsync(capture);
        await capture.DisposeAsync();
        var told = _target.Held;
        var lived = _disk.Kill();
        capture = await OpenAsync(lived);
        List<SimDisk> killed = [];
        var failures = 1;
        lived.Faults = io => io.Path == MarkPath && io.Kind == IoKind.Write && failures-- > 0 ? fault : Fault.None;
        lived.After = io =>
        {
            if (IsMark(io)) killed.Add(lived.Kill());
        };
        await WriteAsync(capture, 1 << 20);
        await _target.CatchUpAsync(capture, () => failures <= 0);
        killed.Add(lived.Kill());
        foreach (var image in killed)
        {
            var next = await OpenAsync(image);
            Assert.True(next.ToldDurable.CompareTo(told) >= 0 || next.Status().DirtyBytes == DiskBytes, $"{next.ToldDurable} is known of {told}");
        }
    }

    /// <summary>It was told in the epoch before, of which the target has not lost anything either.</summary>
    [Fact]
    public async Task A_machine_that_is_fenced_before_a_new_epoch_has_heard_anything_tells_what_it_was_told_before()
    {
        var capture = await OpenAsync(_disk);
        await WriteAsync(capture, 0);
        await _target.CatchUpAsync(capture);
        var told = capture.ToldDurable;
        await capture.DisposeAsync();
        Assert.NotEqual(default, told);
        capture = await OpenAsync(_disk, epoch: 2);
        await capture.FenceAsync(new Epoch(2));
        Assert.Equal(told, capture.ToldDurable);
        Assert.Equal(told, (await OpenAsync(_disk.Kill(), epoch: 2)).ToldDurable);
    }

    private static bool IsMark(SimIo io) => io.Path.StartsWith(MarkPath, StringComparison.Ordinal);

    private static async Task WriteAsync(MachineCapture capture, long offset) => await capture.Disks[0].WriteAsync(offset, new byte[4096], false, default);

    private static Task<MachineCapture> OpenAsync(SimDisk disk, int epoch = 1) => MachineCapture.OpenAsync(new CaptureOptions
    {
        Machine = new MachineId("m1"), Epoch = new Epoch(epoch), StateFolder = Folder, Disks = [new CaptureDisk(new DiskGeometry(0, "sda", DiskBytes), DiskPath)],
        RotationInterval = TimeSpan.Zero, TickInterval = TimeSpan.FromMilliseconds(20),
    }, disk, TimeProvider.System);
}
