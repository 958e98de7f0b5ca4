using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.DataPlane.Tests.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

/// <summary>Several machines and one limit.</summary>
public sealed class SpoolShareTests : SpoolFixture
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private SpoolTarget Open(long bytesMax, Func<MachineId, IStreamTarget?> next) => new(new SpoolOptions
    {
        Folder = Folder, BytesMax = bytesMax, CoalesceAtFraction = 2, ReconnectDelayMax = TimeSpan.FromMilliseconds(20),
    }, next, RealFileSystem.Instance, TimeProvider.System);

    /// <summary>Offers for ever; ends with the session.</summary>
    private async Task FillAsync(SpoolTarget spool, string machine, Func<int> offered)
    {
        var (agent, id) = (new Agent(this), new MachineId(machine));
        await using var session = await spool.OpenAsync(agent.Opening with { Machine = id }, agent, default);
        var header = agent.Start().Header with { MachineTag = BatchCodec.TagOf(id), Kind = BatchKind.Sync, Marker = MarkerKind.None };
        for (var ordinal = 1; ; ordinal = offered())
            await session.OfferAsync(BatchCodec.Encode(header with { Ordinal = ordinal }, [new Extent(0, 4096, 0, ExtentKind.Data)], new byte[4096]), default);
    }

    [Fact]
    public async Task Machines_whose_targets_are_away_leave_the_others_their_share()
    {
        var counts = new int[3];
        var spool = Open(256 << 10, machine => machine == Machine ? Link : null);
        var filling = Enumerable.Range(0, 3).Select(i => FillAsync(spool, $"db{i + 2}", () => Interlocked.Increment(ref counts[i]) + 1)).ToArray();
        var agent = new Agent(this);
        await using (var session = await agent.OpenAsync(spool))
        {
            try
            {
                await UntilAsync(() => filling.FirstOrDefault(f => f.IsFaulted) is { } failed ? throw failed.Exception! : Enumerable.Range(2, 3).All(i => spool.StatusOf(new MachineId($"db{i}")).LastError?.StartsWith("the spool is full", StringComparison.Ordinal) == true));
            }
            catch (OperationCanceledException)
            {
                Assert.Fail(string.Join("\n", Enumerable.Range(2, 3).Select(i => $"{i}: {counts[i - 2]} {filling[i - 2].Status} {spool.StatusOf(new MachineId($"db{i}"))}")));
            }
            await agent.SendAsync(session, 100).WaitAsync(Patience);
            await UntilAsync(() => agent.DurableUpTo.Ordinal == 101);
        }
        Assert.Equal(Model[^1], await ReadAsync(Model.Count - 1));
        var full = spool.StatusOf(new MachineId("db2")).LastError;
        Assert.Contains("spool-bytes-max", full, StringComparison.Ordinal);
        Assert.Contains("not known yet", full, StringComparison.Ordinal);
        Assert.Null(spool.StatusOf(Machine).LastError);
        Assert.InRange(Segments().Sum(p => new FileInfo(p).Length), 1, 256 << 10);
        await spool.DisposeAsync();
        foreach (var ended in filling) await Assert.ThrowsAnyAsync<Exception>(() => ended);
    }

    [Fact]
    public async Task A_machine_that_waits_lets_the_others_let_go_of_what_they_no_longer_need()
    {
        await using var spool = Open(1 << 20, _ => Link);
        var agent = new Agent(this);
        await using (var session = await agent.OpenAsync(spool)) await agent.SendAsync(session, 7);
        await UntilAsync(() => spool.StatusOf(Machine).Batches == 0);
        Assert.Single(Segments());
        Link.Up = false;
        var filling = FillAsync(spool, "db2", Ordinals());
        await UntilAsync(() => !Segments().Any(p => Path.GetFileName(p).StartsWith("db1~", StringComparison.Ordinal)));
        await spool.DisposeAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => filling);

        static Func<int> Ordinals()
        {
            var ordinal = 1;
            return () => ++ordinal;
        }
    }

    /// <summary>What lies about when a process starts is swept; what another machine's spool is writing is not.</summary>
    [Fact]
    public async Task A_machine_that_is_new_takes_nothing_from_one_that_is_about_to_save()
    {
        var files = new Meanwhile();
        await using var spool = new SpoolTarget(new SpoolOptions { Folder = Folder }, _ => null, files, TimeProvider.System);
        files.BeforeNaming = () => spool.OpenAsync(OpeningOf("db3"), new Agent(this), default).AsTask().Wait();
        await (await spool.OpenAsync(OpeningOf("db2"), new Agent(this), default)).DisposeAsync();
        Assert.Equal(["db2", "db3"], spool.Machines.Select(m => m.Value).Order());

        StreamOpening OpeningOf(string machine) => new Agent(this).Opening with { Machine = new MachineId(machine) };
    }

    private sealed class Meanwhile : RealFiles
    {
        internal Action? BeforeNaming { get; set; }

        public override void Replace(string path, ReadOnlySpan<byte> content)
        {
            if (BeforeNaming is not { } happens)
            {
                base.Replace(path, content);
                return;
            }
            BeforeNaming = null;
            File.WriteAllBytes(path + ".tmp", content);
            happens();
            Real.Rename(path + ".tmp", path);
        }
    }

    [Fact]
    public async Task What_a_machine_that_is_removed_had_is_the_others()
    {
        await using var spool = Open(256 << 10, _ => null);
        var taken = 0;
        var filling = FillAsync(spool, "db2", () => Interlocked.Increment(ref taken) + 1);
        await UntilAsync(() => spool.StatusOf(new MachineId("db2")).LastError?.StartsWith("the spool is full", StringComparison.Ordinal) == true);
        var (alone, other) = (Volatile.Read(ref taken), FillAsync(spool, "db3", Ordinal(2)));
        await spool.RemoveAsync(new MachineId("db2"), new Epoch(1));
        await Assert.ThrowsAnyAsync<IOException>(() => filling);
        await UntilAsync(() => spool.StatusOf(new MachineId("db3")).Batches >= alone);
        await spool.DisposeAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => other);

        static Func<int> Ordinal(int next) => () => next++;
    }
}
