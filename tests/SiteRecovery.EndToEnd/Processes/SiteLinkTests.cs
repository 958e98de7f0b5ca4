using System.Globalization;
using System.Net.Sockets;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>What is cut is cut and nothing else is, it comes back, and nothing of it is left on the host. Where no namespaces are to be had the link says so.</summary>
[Collection("Sites")]
public sealed class SiteLinkTests(ITestOutputHelper output)
{
    private const string Primary = SitesUnderTest.Primary, Secondary = SitesUnderTest.Secondary;
    private const int ClusterPort = 20001, DataPort = 20002;
    /// <summary>Nobody listens: who is reached refuses at once.</summary>
    private const string Reached = "refused", Unreachable = "unreachable", Silent = "";

    [Fact]
    public async Task What_is_cut_is_cut_and_nothing_else_is()
    {
        var link = await SiteLink.OpenAsync(output.WriteLine);
        int[] holders = [];
        await using (link)
        {
            output.WriteLine(link.Description);
            if (link is not NamespaceLink namespaces)
            {
                // Anything else is a mistake of ours.
                Assert.Matches("not permitted|No such file|not supported|[Uu]nknown|SITERECOVERY_LINK", link.Description);
                return;
            }
            holders = [namespaces.At(Primary).HolderId, namespaces.At(Secondary).HolderId];
            foreach (var site in new[] { Primary, Secondary }) link.SettingsOf(new(site, site, ""), ClusterPort, DataPort);
            await CutsAsync(namespaces);
            await GoesDownAsync(namespaces);
            await IsImpairedAsync(namespaces);
        }
        Assert.DoesNotContain(DevicePrefix, await HostProgram.RunAsync("ip", ["-oneline", "link"]), StringComparison.Ordinal);
        Assert.DoesNotContain(holders, holder => Directory.Exists($"/proc/{holder}"));
    }

    private static string DevicePrefix => string.Create(CultureInfo.InvariantCulture, $"sr{Environment.ProcessId % 8192:x4}-");

    private static async Task CutsAsync(NamespaceLink link)
    {
        await IsWholeAsync(link);
        await link.CutAsync(toSecondary: true, toPrimary: false);
        Assert.Equal(Silent, await AskAsync(link, Primary, DataPort));
        Assert.True(await link.DroppedAsync(Secondary) > 0);
        Assert.Equal(0, await link.DroppedAsync(Primary));
        await IsReachedByTestsAsync(link);
        await link.HealAsync();

        await IsWholeAsync(link);
        await link.CutAsync(toSecondary: false, toPrimary: true);
        Assert.Equal(Silent, await AskAsync(link, Primary, DataPort));
        Assert.True(await link.DroppedAsync(Primary) > 0);
        Assert.Equal(0, await link.DroppedAsync(Secondary));
        await link.HealAsync();

        await IsWholeAsync(link);
        await link.CutAsync(toSecondary: true, toPrimary: true, "data");
        Assert.Equal(Silent, await AskAsync(link, Primary, DataPort));
        Assert.Equal(Reached, await AskAsync(link, Primary, ClusterPort));
        await link.HealAsync();
        await IsWholeAsync(link);
    }

    private static async Task GoesDownAsync(NamespaceLink link)
    {
        await link.DownAsync(Primary);
        Assert.Equal(Unreachable, await AskAsync(link, Primary, DataPort));
        Assert.Equal(Silent, await AskAsync(link, Secondary, DataPort));
        await IsReachedByTestsAsync(link);
        await link.HealAsync();
        await IsWholeAsync(link);
    }

    private static async Task IsImpairedAsync(NamespaceLink link)
    {
        await link.LoseAsync(30);
        var (reached, asked) = (0, 0);
        for (; asked < 100 && (reached == 0 || await link.DroppedAsync(Secondary) == 0); asked++)
            if (await AskAsync(link, Primary, DataPort) == Reached) reached++;
        Assert.True(asked < 100, $"{reached} of {asked} reached the secondary, and {await link.DroppedAsync(Secondary)} packets were dropped");
        await link.HealAsync();
        await link.SlowAsync();
        await IsWholeAsync(link);
        await link.HealAsync();
        await IsWholeAsync(link);
    }

    private static async Task IsWholeAsync(NamespaceLink link)
    {
        foreach (var site in new[] { Primary, Secondary }) Assert.Equal(Reached, await AskAsync(link, site, DataPort));
        await IsReachedByTestsAsync(link);
    }

    private static async Task IsReachedByTestsAsync(NamespaceLink link)
    {
        foreach (var site in new[] { Primary, Secondary })
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            var refused = await Assert.ThrowsAsync<SocketException>(() => socket.ConnectAsync(link.AddressOf(site), DataPort));
            Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
        }
    }

    /// <summary>What a connection from a site to the other one comes to.</summary>
    private static async Task<string> AskAsync(NamespaceLink link, string from, int port)
    {
        var to = link.AddressOf(from == Primary ? Secondary : Primary);
        string[] ask = [.. link.LauncherAt(from), "timeout", "2", "bash", "-c", $": > /dev/tcp/{to}/{port}"];
        var said = await HostProgram.RunAsync(ask[0], ask[1..], null, 1, 124);
        return said.Contains(Reached, StringComparison.Ordinal) ? Reached : said.Contains(Unreachable, StringComparison.Ordinal) ? Unreachable : said.Trim();
    }
}
