using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>An agent that is kept to the disks of some folders, and told of one elsewhere.</summary>
public sealed class DiskFolderTests
{
    private static readonly DiskFolders Elsewhere = new(["/var/lib/images"]);
    private readonly SimDisk _disk = new();

    [Fact]
    public async Task It_says_nothing_of_a_disk_outside_of_them_and_does_not_protect_it()
    {
        await using var agent = new AgentOnDisk(_disk, folders: Elsewhere);
        var told = (DiskInspected)(await agent.Machines.AnswerAsync(new InspectDisk("1", AgentOnDisk.DiskPath), CancellationToken.None))!;
        Assert.Equal(0, told.SizeBytes);
        Assert.Contains("--disk-folder", told.Error, StringComparison.Ordinal);
        // That it is not there either is not told.
        Assert.Equal(told.Error!.Replace("a.img", "no.img", StringComparison.Ordinal), ((DiskInspected)(await agent.Machines.AnswerAsync(new InspectDisk("2", "/disks/no.img"), CancellationToken.None))!).Error);
        Assert.Contains("--disk-folder", (await agent.TellAsync(AgentOnDisk.Protection())).Error, StringComparison.Ordinal);
        Assert.Empty(agent.Exports.Names);
    }

    [Fact]
    public async Task What_was_protected_before_it_was_given_them_is_served_and_replicated_as_before()
    {
        await using (var before = new AgentOnDisk(_disk))
        {
            await before.Machines.StartAsync();
            await before.ObeyedAsync(AgentOnDisk.Protection());
        }
        await using var agent = new AgentOnDisk(_disk, folders: Elsewhere);
        await agent.Machines.StartAsync();
        Assert.Equal([AgentOnDisk.Export], agent.Exports.Names);
        await agent.Machines.SayWhatLiesElsewhereAsync();
        Assert.Contains("machine db1 was protected with a disk outside of /var/lib/images", agent.Log.ToString(), StringComparison.Ordinal);
        await agent.ObeyedAsync(AgentOnDisk.Protection(2));
        Assert.Equal(2, agent.Machines.Find(AgentOnDisk.Machine)!.Epoch);
        // Another disk is another matter.
        Assert.Contains("--disk-folder", (await agent.TellAsync(AgentOnDisk.Protection(3, "/disks/b.img"))).Error, StringComparison.Ordinal);
    }
}
