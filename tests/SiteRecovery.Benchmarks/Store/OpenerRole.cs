using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Bench;

namespace SiteRecovery.Benchmarks;

/// <summary>A process that opens stores and views, and says how long it took and what memory.</summary>
public static class OpenerRole
{
    public static Command Command()
    {
        var command = new Command("opener", "Opens stores and views") { Hidden = true };
        command.SetAction((_, _) => Role.ServeAsync(words => Task.FromResult(Answer(words))));
        return command;
    }

    private static string Answer(string[] words)
    {
        switch (words[0])
        {
            case "open": return Open(words[1], long.Parse(words[2], CultureInfo.InvariantCulture));
            default: throw new ArgumentException($"no such command: {words[0]}");
        }
    }

    /// <param name="back">So many writes before the newest position lies another one.</param>
    /// <returns>CPU time of opening, of a view of the newest position and of the other one, each with a first sector, in ms; then the same by the clock; then memory, managed and resident, in MiB.</returns>
    private static string Open(string folder, long back)
    {
        var (resident, managed, random) = (Resident(), GC.GetTotalMemory(forceFullCollection: true), new Random(1));
        var (processor, clock) = (new List<double>(), new List<double>());
        T Timed<T>(Func<T> work)
        {
            var (cpu, began) = (Environment.CpuUsage.TotalTime, Stopwatch.GetTimestamp());
            var made = work();
            clock.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            processor.Add((Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds);
            return made;
        }
        using var store = Timed(() => RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System));
        var latest = store.ConsistentUpTo!;
        var first = Timed(() => FirstSector(store, latest, random));
        var earlier = new PointSelector.ById(RecoveryPoint.IdOf(latest.Epoch, new Sequence(latest.Sequence.Value - back)));
        var second = Timed(() => FirstSector(store, store.ResolvePoint(earlier) ?? throw new InvalidOperationException($"{earlier.Id} is not viewable"), random));
        var residentMost = Resident() - resident;
        var answer = string.Create(CultureInfo.InvariantCulture, $"{string.Join(' ', processor.Concat(clock))} {(GC.GetTotalMemory(forceFullCollection: true) - managed) / 1048576.0} {residentMost}");
        GC.KeepAlive((first, second));
        return answer;
    }

    private static StoreView FirstSector(RetentionStore store, RecoveryPoint point, Random random)
    {
        var view = store.At(point);
        view.File(0).Read(random.NextInt64(store.Disks[0].SizeBytes / 512) * 512, new byte[512]);
        return view;
    }

    private static double Resident() => ProcessUsage.ResidentMebibytes(Environment.ProcessId);
}
