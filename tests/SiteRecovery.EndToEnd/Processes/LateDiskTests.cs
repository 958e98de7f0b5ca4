using System.Net.Sockets;
using SiteRecovery.Node.Demo;
using SiteRecovery.DataPlane.Nbd;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A protected host boots, and the storage of a machine comes up after its agent: the machine is served all the same, and asks whether it is still at home for as long as any other, from
/// then on.
/// </summary>
[Trait("Category", "Slow")]
public sealed class LateDiskTests : IDisposable
{
    private const long DiskBytes = 8L << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-late-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2));

    /// <param name="told">A process server repeats what it remembers, though the configuration server is not heard; or nobody says anything.</param>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_disk_that_comes_up_after_its_agent_is_served_and_its_writes_wait_for_the_patience_and_no_longer(bool told)
    {
        var path = Path.Combine(_folder, "vda.raw");
        await using (var disk = File.Create(path)) disk.SetLength(DiskBytes);
        await using var agent = new AgentUnderTest(_folder, "db1", path);
        agent.Start();
        await UntilAsync(() => agent.Status is not null);
        await WriteAsync(agent);
        agent.Kill();
        if (!told) await agent.SilenceAsync();
        HostBoot.Pretend(agent.StateFolder);
        File.Move(path, path + ".away");

        agent.Start("--ask-after-boot", $"{Patience.TotalSeconds}s");
        await UntilAsync(() => Log(agent).Contains("is not served", StringComparison.Ordinal));
        // Longer than the patience: it does not run while there is nothing to write to.
        await Task.Delay(Patience + TimeSpan.FromSeconds(1), _limit.Token);
        var back = TimeProvider.System.GetTimestamp();
        File.Move(path + ".away", path);

        await WriteAsync(agent);
        Assert.True(TimeProvider.System.GetElapsedTime(back) >= Patience, "the write did not wait");
        Assert.Contains("it takes writes now", Log(agent), StringComparison.Ordinal);
    }

    /// <summary>As a guest does: until the disk is served, and then until the write is taken.</summary>
    private async Task WriteAsync(AgentUnderTest agent)
    {
        NbdClient? disk = null;
        while (disk is null)
        {
            try
            {
                disk = await NbdAddress.Parse(agent.CaptureUris[0]).OpenAsync(_limit.Token);
            }
            catch (Exception notYet) when (notYet is IOException or SocketException)
            {
                await Task.Delay(50, _limit.Token);
            }
        }
        await using (disk) await disk.WriteAsync(0, new byte[4096], forceUnitAccess: true, _limit.Token).WaitAsync(_limit.Token);
    }

    private static string Log(AgentUnderTest agent)
    {
        using var log = new StreamReader(new FileStream(agent.LogPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return log.ReadToEnd();
    }

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public void Dispose()
    {
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
