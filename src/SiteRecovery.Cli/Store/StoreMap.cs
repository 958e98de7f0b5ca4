using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.Cli.Store;

internal readonly record struct MapExtent(long Offset, long Length, bool Hole);

/// <summary><c>srctl store map</c>: which ranges of a disk hold data at a point.</summary>
internal static class StoreMap
{
    private const long StatusBytes = 1L << 30;
    private static readonly Column[] Columns = [Column.Of("OFFSET", "offset"), Column.Of("LENGTH", "length"), new("TYPE", e => e.At("hole").Text() == "yes" ? "hole" : "data")];

    public static Command Create()
    {
        var folder = StoreFolder.Argument();
        var disk = new Option<string?>("--disk") { Description = "The disk's index or name" };
        var command = new Command("map", "The extents of a disk at a point: offset, length, data or hole") { folder, StoreFolder.Point, disk, StoreFolder.KeyFile, StoreFolder.KeyCommand };
        command.SetAction(async (arguments, cancel) =>
        {
            using var store = StoreFolder.OpenOne(arguments.GetRequiredValue(folder), arguments);
            var record = StoreFolder.ChooseDisk(store, arguments.GetValue(disk));
            await using var view = store.At(StoreFolder.Choose(store, arguments.GetValue(StoreFolder.Point)!)).Disk(record.Index);
            var extents = new List<JsonNode>();
            await foreach (var extent in ExtentsAsync(view, cancel))
                extents.Add(new JsonObject { ["offset"] = extent.Offset, ["length"] = extent.Length, ["hole"] = extent.Hole });
            Session.DataOf(arguments).List(extents, Columns);
            return ExitCode.Done;
        });
        return command;
    }

    /// <summary>The whole disk in order and without gaps; neighbours of one kind are one extent.</summary>
    public static async IAsyncEnumerable<MapExtent> ExtentsAsync(IBlockDevice disk, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        MapExtent? open = null;
        for (long at = 0; at < disk.SizeBytes;)
        {
            foreach (var run in await disk.StatusAsync(at, Math.Min(StatusBytes, disk.SizeBytes - at), cancel))
            {
                var hole = run.Hole || run.Zero;
                if (open is { } known && known.Hole == hole) open = known with { Length = known.Length + run.Length };
                else
                {
                    if (open is { } whole) yield return whole;
                    open = new MapExtent(at, run.Length, hole);
                }
                at += run.Length;
            }
        }
        if (open is { } last) yield return last;
    }
}
