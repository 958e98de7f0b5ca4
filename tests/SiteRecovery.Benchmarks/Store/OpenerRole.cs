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
            case "open": return Open(words[1]);
            default: throw new ArgumentException($"no such command: {words[0]}");
        }
    }

    private static string Open(string folder)
    {
        var (resident, managed, random) = (Resident(), GC.GetTotalMemory(forceFullCollection: true), new Random(1));
        var began = Stopwatch.GetTimestamp();
        double Elapsed() => Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        using var store = RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System);
        var opening = Elapsed();
        var latest = store.ConsistentUpTo!;
        began = Stopwatch.GetTimestamp();
        var first = FirstSector(store, latest, random);
        var view = Elapsed();
        began = Stopwatch.GetTimestamp();
        var second = FirstSector(store, store.ResolvePoint(new PointSelector.ById(RecoveryPoint.IdOf(latest.Epoch, new Sequence(latest.Sequence.Value - 1)))) ?? latest, random);
        var another = Elapsed();
        var residentMost = Resident() - resident;
        var answer = string.Create(CultureInfo.InvariantCulture, $"{opening} {view} {another} {(GC.GetTotalMemory(forceFullCollection: true) - managed) / 1048576.0} {residentMost}");
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
