using System.Globalization;
using System.Net.Sockets;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.DataPlane.Tests.Nbd;

/// <summary>Whoever runs machines as a user of its own, as libvirt does, opens the disks as that user.</summary>
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class SocketGroups
{
    /// <summary>Of nobody else on this host.</summary>
    private const int Stranger = 64999, Group = 64998;

    [Fact]
    public async Task The_group_of_a_socket_may_connect_again_after_each_restart_and_nobody_else()
    {
        var group = Environment.IsPrivilegedProcess ? Group : int.Parse(await ServedDisk.RunAsync("id", "-g"), CultureInfo.InvariantCulture);
        await using var disk = new ServedDisk(options: new NbdServerOptions { SocketGroup = group.ToString(CultureInfo.InvariantCulture) });
        var folder = Path.GetDirectoryName(disk.DiskPath)!;
        File.SetUnixFileMode(folder, File.GetUnixFileMode(folder) | UnixFileMode.OtherExecute);
        await OpenedAsync(disk, group);
        await disk.Server.DisposeAsync();
        await using var again = new NbdServer(disk.Exports, new NbdServerOptions { SocketGroup = group.ToString(CultureInfo.InvariantCulture) }, TimeProvider.System);
        again.Listen(disk.Unix);
        await OpenedAsync(disk, group);
    }

    [Fact]
    public void A_group_that_is_not_there_is_said_with_what_to_do()
    {
        var folder = Directory.CreateTempSubdirectory("nbd-").FullName;
        var server = new NbdServer(new NbdExports(), new NbdServerOptions { SocketGroup = "nobodys-group" }, TimeProvider.System);
        var refused = Assert.Throws<IOException>(() => server.Listen(new UnixDomainSocketEndPoint(Path.Combine(folder, "s"))));
        Assert.Contains("there is no group 'nobodys-group'", refused.Message, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>The service that knows the groups may be dark, and its own user's guests need their disks.</summary>
    [Fact]
    public async Task Where_somebody_hears_that_its_owner_is_served_all_the_same()
    {
        var said = new List<string>();
        await using var disk = new ServedDisk(options: new NbdServerOptions { SocketGroup = "nobodys-group", NotGiven = said.Add });
        Assert.Contains("there is no group 'nobodys-group'", Assert.Single(said), StringComparison.Ordinal);
        await ServedDisk.RunAsync("nbdinfo", "--size", disk.Uri);
    }

    private static async Task OpenedAsync(ServedDisk disk, int group)
    {
        Assert.Equal($"660 {group}", (await ServedDisk.RunAsync("stat", "-c", "%a %g", disk.PathOf("s"))).Trim());
        if (!Environment.IsPrivilegedProcess) return; // another user cannot be had
        Assert.Equal(0, await CodeAsAsync(group));
        Assert.NotEqual(0, await CodeAsAsync(Stranger));

        async Task<int> CodeAsAsync(int of) => (await ServedDisk.TryRunAsync("setpriv", $"--reuid={Stranger}", $"--regid={Stranger}", $"--groups={of}", "nbdinfo", "--size", disk.Uri)).Code;
    }
}
