using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>What a capture has promised survives every crash: a fence, a hold, and that no sequence is given out twice.</summary>
public sealed class CaptureStateCrashTests
{
    private const int DiskBytes = 4 << 20;
    private const string Folder = "/agent/machines/m1", DiskPath = "/disks/m1.img";
    private SimDisk _disk = new();
    private MachineCapture? _capture;
    private Promise _promised = new(1, false, false, false), _wanted = new(1, false, false, false);
    private long _newest;
    private readonly List<(SimDisk Image, string How, Promise Before, Promise After, long Newest)> _images = [];

    private sealed record Promise(int Epoch, bool Fenced, bool Frozen, bool Held);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task No_promise_is_forgotten(int seed)
    {
        var random = new Random(seed);
        _disk.CreateDirectory("/disks");
        using (var file = _disk.Open(DiskPath, FileOpening.Create))
        {
            file.SetLength(DiskBytes);
            file.Flush();
        }
        _disk.FlushFolder("/disks");
        Watch(random);
        _capture = await OpenAsync(_disk, 1);
        for (var step = 0; step < 40; step++)
        {
            await StepAsync(random);
            _promised = _wanted;
            await AssertImagesAsync();
        }
    }

    [Fact]
    public async Task That_every_block_is_to_be_compared_is_not_forgotten_without_power()
    {
        _disk.CreateDirectory("/disks");
        using (var file = _disk.Open(DiskPath, FileOpening.Create))
        {
            file.SetLength(DiskBytes);
            file.Flush();
        }
        _disk.FlushFolder("/disks");
        _capture = await OpenAsync(_disk, 1, forkedAt: 5); // begins with nothing to be compared
        Assert.Equal(0, _capture.Status().DirtyBytes);
        _capture.MarkAllUnsynced("every block is compared, as asked");
        for (var seed = 0; seed < 20; seed++)
            Assert.Equal(DiskBytes, (await OpenAsync(_disk.LosePower(seed), 1)).Status().DirtyBytes);
    }

    private async Task StepAsync(Random random)
    {
        switch (random.Next(12))
        {
            case 0:
                _wanted = _promised with { Fenced = true };
                await _capture!.FenceAsync(new Epoch(_promised.Epoch));
                break;
            case 1:
                _wanted = _promised with { Frozen = true };
                await _capture!.FreezeAsync(1, default);
                break;
            case 2 when _promised.Frozen:
                _wanted = _promised with { Held = true };
                _capture!.Hold();
                break;
            case 3:
                _wanted = _promised with { Frozen = false, Held = false };
                _capture!.Unfreeze();
                break;
            case 4 when _promised.Fenced:
                // The machine comes back with the next epoch.
                await _capture!.DisposeAsync();
                _wanted = new Promise(_promised.Epoch + 1, false, false, false);
                _capture = await OpenAsync(_disk, _wanted.Epoch);
                break;
            case 5: await CrashAsync(random); break;
            default:
                if (_promised is { Fenced: false, Frozen: false }) await _capture!.Disks[0].WriteAsync(random.Next(DiskBytes - 5000), new byte[random.Next(1, 5000)], forceUnitAccess: random.Next(4) == 0, default);
                _newest = _capture!.Status().Newest.Value;
                break;
        }
    }

    private async Task CrashAsync(Random random)
    {
        var image = random.Next(2) == 0 ? _disk.Kill() : _disk.LosePower(random.Next());
        _disk.TurnOff();
        _disk = image;
        Watch(random);
        _capture = await OpenAsync(_disk, _promised.Epoch);
    }

    private void Watch(Random random) => _disk.After = io =>
    {
        _images.Add((_disk.Kill(), $"killed after {io}", _promised, _wanted, _newest));
        var loss = random.Next();
        _images.Add((_disk.LosePower(loss), $"without power ({loss}) after {io}", _promised, _wanted, _newest));
    };

    private async Task AssertImagesAsync()
    {
        foreach (var (image, how, before, after, newest) in _images)
        {
            var capture = await OpenAsync(image, before.Epoch);
            var found = (capture.IsFenced, capture.IsFrozen, capture.IsHeld);
            Assert.True(found == Of(before) || found == Of(after) || (after.Epoch > before.Epoch && capture.IsFenced), $"{how}: {found}, though it was {before} on its way to {after}");
            Assert.True(capture.Status().Newest.Value >= newest, $"{how}: sequence {newest} is given out again after {capture.Status().Newest}");
        }
        _images.Clear();
    }

    private static (bool, bool, bool) Of(Promise promise) => (promise.Fenced, promise.Frozen, promise is { Frozen: true, Held: true });

    private static Task<MachineCapture> OpenAsync(SimDisk disk, int epoch, long? forkedAt = null) => MachineCapture.OpenAsync(new CaptureOptions
    {
        Machine = new MachineId("m1"), Epoch = new Epoch(epoch), StateFolder = Folder, BufferBytes = 1 << 20, ForkedAt = forkedAt is { } at ? new Sequence(at) : null, Disks = [new CaptureDisk(new(0, "vda", DiskBytes), DiskPath)],
    }, disk, new SimClock());
}
