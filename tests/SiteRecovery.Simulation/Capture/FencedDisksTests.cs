using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Capture;

/// <summary>The fence of a machine that is not open says where it ended: its disks must not be older than that after the next loss of power.</summary>
public sealed class FencedDisksTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void What_a_guest_wrote_and_did_not_flush_survives_once_it_is_fenced(int seed)
    {
        var disk = new SimDisk();
        foreach (var folder in (string[])["/disks", "/state"]) disk.CreateDirectory(folder);
        var written = new byte[64 << 10];
        new Random(seed).NextBytes(written);
        using (var file = disk.Open("/disks/a.img", FileOpening.Create))
        {
            disk.FlushFolder("/disks");
            file.Write(0, written);
        }
        var killed = disk.Kill();
        MachineCapture.FenceStored("/state", new Epoch(2), killed, ["/disks/a.img", "/disks/gone.img"]);
        var shown = new byte[written.Length];
        killed.LosePower(seed).Peek("/disks/a.img", shown);
        Assert.Equal(written, shown);
    }
}
