using System.Diagnostics;
using System.Globalization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Benchmarks;

/// <summary>
/// One log that grows to more than 10 million extents: what appending a batch costs at each length, and how long opening the directory and a view takes there, and how much memory, in a process of its own.
/// The writes are of 4 KiB and carry no data (the guest's zeroes): as many frames, extents, indexes and maps as with any other writes, in little room.
/// </summary>
public static class Growth
{
    private const int ExtentBytes = 4096, ExtentsPerFrame = 256, FramesPerSegment = (128 << 10) / ExtentsPerFrame, SegmentsPerStep = 8, Steps = 10;
    private const long DiskBytes = 100L << 30;
    private const double ExtentsPerStep = (double)SegmentsPerStep * FramesPerSegment * ExtentsPerFrame;
    private const string Folder = "growth";
    private static readonly string[] Opened = ["opening the directory", "a view of the newest position", "a view of the end of a sealed segment"];

    public static async Task RunAsync(Bench bench, CancellationToken stop)
    {
        var folder = bench.At(Folder);
        var feed = new Feed(new MachineId("machine"), new DiskGeometry(0, "disk", DiskBytes), TimeSpan.FromMilliseconds(1));
        var appending = new LineChart("Appending a batch of 256 extents, by the log's length", "million extents in the log", "µs per batch");
        var opening = new LineChart("Opening, by the extents in the window", "million extents in the window", "ms of CPU");
        RetentionStore.Create(folder, feed.Machine, [feed.Disk], Epoch.First, RealFileSystem.Instance, TimeProvider.System).Dispose();
        for (var step = 1; step <= Steps; step++)
        {
            stop.ThrowIfCancellationRequested();
            using (var store = RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System))
            {
                var perSegment = Append(store, feed, first: step == 1);
                foreach (var microseconds in perSegment) bench.Results.Add("append of a batch, median of a segment", "µs", $"log of up to {step * ExtentsPerStep / 1e6:0.0} million extents", microseconds);
                appending.Add("median of each segment's appends, least to most of 8 segments", step * ExtentsPerStep / 1e6, perSegment);
                store.Maintain(null, stop);
            }
            await OpenAsync(bench, folder, step * ExtentsPerStep / 1e6, opening);
        }
        bench.Report.Chart("appending", appending);
        bench.Report.Chart("opening", opening);
        bench.Report.Text("Growth: one log of 4 KiB writes that carry no data (zero extents), 256 a batch, at random over a disk of 100 GiB: as many frames, extents, indexes and maps as with any writes, in little room; a sector with data costs a frame's read more, whatever the log's length. A process of its own opens the directory, then a view and its first sector, at the newest position, for which the map of the last segment is made in memory, and where a sealed segment ends; the kernel has the files in memory. Memory is what the process has resident beyond what it had before, and what of it is managed, after a collection.");
        Directory.Delete(folder, recursive: true);
    }

    /// <returns>Per segment the median time of an append, in µs.</returns>
    private static double[] Append(RetentionStore store, Feed feed, bool first)
    {
        if (first) store.Append(feed.Start());
        var medians = new double[SegmentsPerStep];
        for (var segment = 0; segment < SegmentsPerStep; segment++)
        {
            var times = new double[FramesPerSegment];
            for (var frame = 0; frame < times.Length; frame++)
            {
                var batch = feed.ScatteredZeroes(ExtentBytes, ExtentsPerFrame);
                var began = Stopwatch.GetTimestamp();
                store.Append(batch);
                times[frame] = Stopwatch.GetElapsedTime(began).TotalMicroseconds;
            }
            medians[segment] = Node.Bench.Measurements.Median(times);
            store.Flush();
        }
        return medians;
    }

    private static async Task OpenAsync(Bench bench, string folder, double millions, LineChart chart)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"{millions:0.0} million extents");
        var rounds = new Dictionary<string, List<double>>();
        await using var opener = await Role.StartAsync("opener");
        // Only the first opening of a process shows what memory it takes, and only the later ones what time, as a service is warm.
        for (var round = 0; round <= Math.Max(3, bench.Options.Rounds); round++)
        {
            var figures = (await opener.AskAsync("open", folder, (FramesPerSegment * ExtentsPerFrame).ToString(CultureInfo.InvariantCulture))).Split(' ').Select(f => double.Parse(f, CultureInfo.InvariantCulture)).ToArray();
            foreach (var (what, unit, value) in Opened.Select((what, n) => (what + ", CPU", "ms", figures[n])).Concat(Opened.Select((what, n) => (what + ", by the clock", "ms", figures[Opened.Length + n])))
                .Concat([("memory of the store and two views, managed", "MiB", figures[^2]), ("memory of the process beyond what it had before", "MiB", figures[^1])]))
            {
                if (what.StartsWith("memory", StringComparison.Ordinal) != (round == 0)) continue;
                bench.Results.Add(what, unit, name, value);
                if (!rounds.TryGetValue(what, out var values)) rounds[what] = values = [];
                values.Add(value);
            }
        }
        foreach (var (what, values) in rounds)
            if (what.EndsWith("CPU", StringComparison.Ordinal)) chart.Add(what, millions, [.. values]);
    }
}
