using System.Runtime.Versioning;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Demo;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>What is replicated is as secret as what it was read from, whoever started the programs, and however.</summary>
[SupportedOSPlatform("linux")]
public sealed class PrivateFilesTests : IDisposable
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Readable = UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;
    private const UnixFileMode OwnerAndGroup = Owner | UnixFileMode.GroupRead | UnixFileMode.GroupExecute;
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-mode-").FullName;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));

    private string At(string name) => Path.Combine(_folder, name);

    [Theory]
    [InlineData("siterecovery", "data", "doctor", "--data", "DATA")]
    [InlineData("siterecovery-agent", "data/lock", "run", "--data", "DATA")]
    [InlineData("srctl", "data/siterecovery/contexts.json", "context", "add", "dr", "--server", "https://127.0.0.1:1", "--token-file", "none")]
    public async Task What_a_program_makes_is_its_users_alone_whatever_the_shell_lets_others_do(string program, string made, params string[] arguments)
    {
        using (var run = ChildProcess.StartUnder(["env", $"XDG_CONFIG_HOME={At("data")}", "sh", "-c", "umask 0; exec \"$0\" \"$@\""], program, At("log"), [.. arguments.Select(a => a == "DATA" ? At("data") : a)]))
            await run.WaitAsync(_limit.Token);
        Assert.True(Path.Exists(At(made)), await File.ReadAllTextAsync(At("log"), _limit.Token));
        Assert.Equal((UnixFileMode)0, File.GetUnixFileMode(At(made)) & ~Owner);
    }

    [Fact]
    public void What_an_earlier_version_left_open_is_closed_and_what_is_meant_for_others_is_not()
    {
        foreach (var folder in (string[])["data", "data/pki", "data/process-server", "data/master-target", "data/master-target/stores", "data/master-target/released"])
            Directory.CreateDirectory(At(folder), Owner | Readable).UnixFileMode = Owner | Readable;
        Directory.CreateDirectory(At("data/machines")).UnixFileMode = OwnerAndGroup; // somebody let a group in
        File.WriteAllBytes(At("data/journal.db"), []);
        File.SetUnixFileMode(At("data/journal.db"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        Directory.CreateSymbolicLink(At("data/master-target/served"), At("data"));

        using (new DataFolder(At("data")))
        {
            foreach (var closed in (string[])["pki", "process-server", "master-target/stores"]) Assert.Equal(OwnerAndGroup, File.GetUnixFileMode(At($"data/{closed}")));
            foreach (var open in (string[])["", "master-target", "master-target/released"]) Assert.Equal(Owner | Readable, File.GetUnixFileMode(At($"data/{open}")));
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(At("data/journal.db")));
            Assert.Equal(OwnerAndGroup, File.GetUnixFileMode(At("data/machines")));
        }
        var said = new List<string>();
        ClosedFolder.Close(At("data"), said.Add, "pki", "process-server");
        Assert.Empty(said);
        File.SetUnixFileMode(At("data/pki"), Owner | Readable);
        ClosedFolder.Close(At("data"), said.Add, "pki", "process-server");
        Assert.Equal($"every user of this host could read pki in {At("data")}; from now on they cannot", Assert.Single(said));
    }

    [Fact]
    public async Task An_agents_folder_is_closed_too()
    {
        Directory.CreateDirectory(At("data/machines"));
        foreach (var folder in (string[])["data", "data/machines"]) File.SetUnixFileMode(At(folder), Owner | Readable);
        await Assert.ThrowsAsync<AgentProblem>(() => AgentService.StartAsync(new AgentOptions(At("data"), null, null, "agent-1"), TimeProvider.System, _limit.Token));
        Assert.Equal((Owner | Readable, OwnerAndGroup), (File.GetUnixFileMode(At("data")), File.GetUnixFileMode(At("data/machines"))));
    }

    public void Dispose()
    {
        _limit.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
