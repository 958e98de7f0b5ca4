using System.Globalization;
using System.Text.RegularExpressions;
using SiteRecovery.EndToEnd.Guests;
using SiteRecovery.EndToEnd.Processes;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>A machine of libvirt's whose disk goes through the agent, with the very lines that deploy/README.md tells its owner to write.</summary>
[Trait("Category", "Slow"), Collection("Guests")]
public sealed class CapturedDomainTests(LibvirtDaemon daemon) : IClassFixture<LibvirtDaemon>, IDisposable
{
    private const string Machine = "db1", Domain = "sr-captured";
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-cd-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2));

    private string At(string name) => Path.Combine(_folder, name);

    [Fact]
    public async Task Its_guest_writes_on_when_the_agent_is_killed_and_started_anew()
    {
        await GuestDisk.CreateAsync(At("vda.raw"), 64 << 20);
        await using var agent = new AgentUnderTest(_folder, Machine, At("vda.raw"));
        agent.Start("--hypervisor", daemon.Uri);
        await UntilAsync(() => agent.Status is not null);
        await File.WriteAllTextAsync(At("domain.xml"), await DomainAsync(), _limit.Token);
        await daemon.VirshAsync("define", At("domain.xml"));
        try
        {
            await daemon.VirshAsync("start", Domain);
            await UntilAsync(() => Acknowledged() > 0);
            agent.Kill();
            var before = Acknowledged();
            agent.Start("--hypervisor", daemon.Uri);
            await UntilAsync(() => Acknowledged() > before + 2);
        }
        finally
        {
            await daemon.VirshAsync("destroy", Domain);
            await daemon.VirshAsync("undefine", Domain);
        }
    }

    private async Task<string> DomainAsync()
    {
        var image = await GuestImage.BuiltAsync();
        return $"""
            <domain type='qemu'>
              <name>{Domain}</name><memory unit='MiB'>{GuestMachine.MemoryMiB}</memory><vcpu>1</vcpu>
              <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{image.Kernel}</kernel><initrd>{image.InitialRamDisk}</initrd><cmdline>{GuestMachine.KernelLine}</cmdline></os>
              <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
              <devices>{DiskOfReadme()}<serial type='file'><source path='{At("console.log")}'/></serial></devices>
            </domain>
            """;
    }

    /// <summary>Where the agent has its folder is all that differs.</summary>
    private string DiskOfReadme()
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root.FullName, "SiteRecovery.sln"))) root = root.Parent!;
        var disk = Regex.Match(File.ReadAllText(Path.Combine(root.FullName, "deploy", "README.md")), "<disk type='network'.*?</disk>", RegexOptions.Singleline).Value;
        Assert.Contains($"name='{Machine}.vda'", disk, StringComparison.Ordinal);
        return Regex.Replace(disk, "socket='[^']*'", $"socket='{At("agent")}/nbd.sock'");
    }

    /// <summary>The last record that the guest has on its disk; it says FAILED where a write failed, and ends.</summary>
    private long Acknowledged()
    {
        using var console = new FileStream(At("console.log"), FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite);
        var said = new StreamReader(console).ReadToEnd();
        Assert.DoesNotMatch("FAILED|BAD|I/O error|EXT4-fs error|Kernel panic", said);
        return Regex.Matches(said, @"^ACK (\d+)\r?\n", RegexOptions.Multiline) is [.., var last] ? long.Parse(last.Groups[1].Value, CultureInfo.InvariantCulture) : 0;
    }

    private async Task UntilAsync(Func<bool> holds)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (!holds()) await timer.WaitForNextTickAsync(_limit.Token);
    }

    public void Dispose()
    {
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
