using System.Globalization;
using SiteRecovery.EndToEnd.Guests;
using Xunit.Abstractions;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A machine is moved, taken back, lost, brought home and moved again, and over each of these actions a component or a whole site dies by SIGKILL and comes back:
/// the action ends, there are never two copies that take writes, and in the end the disk is what was acknowledged.
/// </summary>
[Trait("Category", "Slow"), Collection("Sites")]
public sealed class MovedUnderKillsTests(ITestOutputHelper output) : IDisposable
{
    private const string Settings = "siterecovery.cluster { stable-after = 5s, heartbeat-pause = 4s }";
    private static readonly string[][] Victims =
        [[SitesUnderTest.Agent], [SitesUnderTest.Primary], [SitesUnderTest.Secondary], [SitesUnderTest.Primary, SitesUnderTest.Secondary]];
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(3) + TimeSpan.FromMinutes(10) * Rounds.Wanted(1));
    private readonly int _seed = int.Parse(Environment.GetEnvironmentVariable("SITERECOVERY_SEED") ?? "21", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Whatever_dies_over_a_failover_it_ends_with_one_writable_copy_of_all_that_was_acknowledged()
    {
        await using var sites = new SitesUnderTest(Settings, _limit.Token,
            new(SitesUnderTest.Secondary, SitesUnderTest.Secondary, "configuration-server, process-server, master-target"),
            new(SitesUnderTest.Primary, SitesUnderTest.Primary, "process-server, master-target"));
        await sites.JoinAsync();
        for (var round = 0; round < Rounds.Wanted(1); round++)
        {
            await using var machine = new MachineOnTheMove(sites, $"m{round}", new Random(_seed + round), Kills(round), output, _limit.Token);
            await machine.ProtectAsync();
            await CircleAsync(machine);
        }
    }

    /// <summary>Few deaths in CI; in a long run one over each action.</summary>
    private static Func<string, int, string[]?> Kills(int round) => (action, step) =>
        Rounds.Wanted(1) > 1 || step % 3 == 1 || action == "disable" ? Victims[(step + round + action.Length) % Victims.Length] : null;

    private static async Task CircleAsync(MachineOnTheMove machine)
    {
        await machine.WriteAsync();
        await machine.CancelSoonAsync();
        await machine.WriteAsync();
        await machine.PlannedAsync();
        await machine.WriteAsync();
        // What was written to the replica is not the machine's: its writes until the failover are.
        await machine.CancelAsync();
        await machine.WriteAsync();
        await machine.LostAsync();
        await machine.CommitAsync();
        await machine.WriteAsync();
        await machine.ReverseAsync();
        await machine.WriteAsync();
        await machine.PlannedAsync();
        await machine.CommitAsync();
        await machine.WriteAsync();
        await machine.ReverseAsync();
        await machine.WriteAsync();
        await machine.PlannedAsync();
        await machine.CancelAsync();
        await machine.EqualAsync();
        await machine.ReleaseAsync();
    }

    public void Dispose() => _limit.Dispose();
}
