using System.Text;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>A disk that somebody wants to protect, by what lies at its beginning.</summary>
public sealed class ImageFormatTests
{
    private readonly SimDisk _disk = new();

    [Theory]
    [InlineData(0, "QFI\u00fb\0\0\0\u0003", "qcow2")]
    [InlineData(0, "KDMV\u0001", "VMDK")]
    [InlineData(0, "# Disk DescriptorFile\nversion=1", "VMDK")]
    [InlineData(0, "vhdxfile", "VHDX")]
    [InlineData(0, "conectix", "VHD")]
    [InlineData(64, "\u007f\u0010\u00da\u00be", "VDI")]
    [InlineData(0, "LUKS\u00ba\u00be\0\u0002", null)]
    [InlineData(510, "\u0055\u00aa", null)] // a partition table
    [InlineData(512, "QFI\u00fb", null)]
    public async Task An_image_of_another_format_is_refused_and_a_raw_disk_with_whatever_it_has_is_not(int at, string content, string? format)
    {
        await using var agent = new AgentOnDisk(_disk);
        Write(at, content);
        var told = await InspectAsync(agent);
        if (format is null)
        {
            Assert.Equal((null, AgentOnDisk.DiskBytes), (told.Error, told.SizeBytes));
            return;
        }
        Assert.Contains($"is a {format} image", told.Error, StringComparison.Ordinal);
        Assert.Contains("qemu-img convert -O raw /disks/a.img", told.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_guest_writes_to_its_protected_disk_locks_nobody_out()
    {
        await using (var before = new AgentOnDisk(_disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
            await using var guest = await before.OpenGuestAsync();
            var sector = new byte[512];
            Encoding.Latin1.GetBytes("QFI\u00fb", sector);
            await guest.WriteAsync(0, sector, true, CancellationToken.None);
        }
        await using var agent = new AgentOnDisk(_disk);
        await agent.Machines.StartAsync();
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
    }

    [Fact]
    public async Task A_folder_is_called_one()
    {
        await using var agent = new AgentOnDisk(_disk);
        Assert.Equal("/disks is a folder: name a file or a block device", ((DiskInspected)(await agent.Machines.AnswerAsync(new InspectDisk("1", "/disks"), CancellationToken.None))!).Error);
    }

    private static async Task<DiskInspected> InspectAsync(AgentOnDisk agent) => (DiskInspected)(await agent.Machines.AnswerAsync(new InspectDisk("1", AgentOnDisk.DiskPath), CancellationToken.None))!;

    private void Write(int at, string content)
    {
        using var file = _disk.Open(AgentOnDisk.DiskPath, FileOpening.ReadWrite);
        file.Write(at, Encoding.Latin1.GetBytes(content));
    }
}
