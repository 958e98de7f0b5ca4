using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Cli.Store;

/// <summary><c>srctl store export</c>: a disk at a point as a raw image.</summary>
internal static class StoreExport
{
    public static Command Create()
    {
        var folder = StoreFolder.Argument();
        var disk = new Option<string?>("--disk") { Description = "The disk's index or name" };
        var to = new Option<string>("--to") { Description = "The image to write, or a block device", Required = true };
        var sparse = new Option<bool>("--sparse") { Description = "Let blocks of zeroes take no room; without it room for the whole disk is reserved" };
        var force = new Option<bool>("--force") { Description = "Overwrite what exists" };
        var command = new Command("export", "Write a disk at a point as a raw image") { folder, StoreFolder.Point, disk, to, sparse, force, StoreFolder.KeyFile, StoreFolder.KeyCommand };
        command.SetAction(async (arguments, cancel) =>
        {
            using var store = StoreFolder.OpenOne(arguments.GetRequiredValue(folder), arguments);
            var record = StoreFolder.ChooseDisk(store, arguments.GetValue(disk));
            var point = StoreFolder.Choose(store, arguments.GetValue(StoreFolder.Point)!);
            var path = Path.GetFullPath(arguments.GetRequiredValue(to));
            await using var view = store.At(point).Disk(record.Index);
            Session.Say($"{store.Machine}: disk {record.Index} ({record.Name}), {Forms.Bytes(record.SizeBytes)}, at {point.Id} of {Forms.Time(point.At)}");
            var written = await WriteAsync(view, path, arguments.GetValue(sparse), arguments.GetValue(force), store.Folder, cancel);
            var report = new JsonObject
            {
                ["machine"] = store.Machine.Value, ["disk"] = record.Name, ["point"] = StoreCommands.Describe(point), ["file"] = path,
                ["sizeBytes"] = record.SizeBytes, ["dataBytes"] = written,
            };
            var data = Session.DataOf(arguments);
            if (data.IsForPeople) data.Line(path);
            else data.Document(report);
            return ExitCode.Done;
        });
        return command;
    }

    private static async Task<long> WriteAsync(IBlockDevice disk, string path, bool sparse, bool force, string store, CancellationToken cancel)
    {
        try
        {
            List<MapExtent> extents = [];
            await foreach (var extent in StoreMap.ExtentsAsync(disk, cancel)) extents.Add(extent);
            var dataBytes = extents.Where(e => !e.Hole).Sum(e => e.Length);
            using var image = ImageFile.Create(path, disk.SizeBytes, sparse ? dataBytes : disk.SizeBytes, sparse, force);
            await Terminal.ProgressAsync("export", dataBytes, async done => await CopyAsync(disk, extents, image, sparse, done, cancel));
            image.Complete();
            return dataBytes;
        }
        catch (IOException e)
        {
            throw new CommandProblem(ExitCode.Failed, $"the export to {path} failed", e.Message, $"Where the store is damaged, an older point may be whole: srctl store verify {store}. Nothing that looks like an image was left behind.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new CommandProblem(ExitCode.Failed, $"{path} cannot be written", e.Message, "Choose a folder that you may write to.", e);
        }
    }

    private static async Task CopyAsync(IBlockDevice disk, List<MapExtent> extents, ImageFile image, bool sparse, Action<long> done, CancellationToken cancel)
    {
        var buffer = new byte[4 << 20];
        foreach (var extent in extents)
        {
            if (extent.Hole) image.Hole(extent.Offset, extent.Length);
            else
                for (long at = 0; at < extent.Length;)
                {
                    cancel.ThrowIfCancellationRequested();
                    var part = buffer.AsMemory(0, (int)Math.Min(buffer.Length, extent.Length - at));
                    await disk.ReadAsync(extent.Offset + at, part, cancel);
                    image.Write(extent.Offset + at, part.Span, sparse);
                    at += part.Length;
                    done(part.Length);
                }
        }
    }
}
