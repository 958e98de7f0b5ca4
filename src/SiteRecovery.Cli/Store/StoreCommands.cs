using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Cli.Store;

/// <summary>Break glass: what a store's directory alone can tell and give.</summary>
internal static class StoreCommands
{
    private static readonly Column[] InfoColumns =
    [
        Column.Of("MACHINE", "machine"), new("NEWEST", s => s.At("newest.id").Text()), new("OF", s => Forms.Time(s.At("newest.at"))), Column.Of("POINTS", "points"),
        new("LOG", s => Forms.Bytes(s.At("logBytes"))), new("DISKS", s => string.Join(",", s.At("disks").Items().Select(d => d.At("name").Text()))), new("DAMAGED", s => (s.At("error") ?? s.At("damaged")).Text()), Column.Of("FOLDER", "folder"),
    ];

    public static Command Create() => new("store", "Break glass: read a retention store from its directory alone, with no cluster")
    {
        Info(), Points(), StoreVerify.Create(), StoreMap.Create(), StoreExport.Create(),
    };

    private static Command Info()
    {
        var folder = StoreFolder.Argument();
        var command = new Command("info", "What a store holds; of a directory of stores, each") { folder };
        command.SetAction(arguments =>
        {
            var (wanted, data) = (arguments.GetRequiredValue(folder), Session.DataOf(arguments));
            var found = StoreFolder.Each(wanted, Describe);
            if (found is [var only] && only.At("folder").Text() == wanted) data.Document(only);
            else data.List(found, InfoColumns);
            return found.Any(s => s.At("error") is not null) ? ExitCode.Failed : ExitCode.Done;
        });
        return command;
    }

    private static Command Points()
    {
        var folder = StoreFolder.Argument();
        var from = Time("--from", "Not before this time; UTC where it names no zone");
        var to = Time("--to", "Not after this time; UTC where it names no zone");
        var limit = new Option<int?>("--limit") { Description = "The newest so many" };
        var command = new Command("points", "Recovery points of a store, newest first, and its newest position") { folder, from, to, limit };
        command.SetAction(arguments =>
        {
            using var store = StoreFolder.OpenOne(arguments.GetRequiredValue(folder));
            var points = store.Points.ToList();
            // Every acknowledged write is a point: the newest position can be chosen too, marked or not.
            if (store.ConsistentUpTo is { } newest && !points.Exists(p => p.Id == newest.Id)) points.Add(newest with { Label = "(newest position)" });
            var (earliest, latest) = (arguments.GetValue(from) ?? DateTimeOffset.MinValue, arguments.GetValue(to) ?? DateTimeOffset.MaxValue);
            var shown = points.Where(p => p.At >= earliest && p.At <= latest).TakeLast(arguments.GetValue(limit) ?? int.MaxValue).Reverse();
            var jumps = store.Jumps();
            Session.DataOf(arguments).List([.. shown.Select(p => Describe(p, store.NoteOf(p), store.SignalsOf(p), jumps.Contains(p)))], RecoveryPointCommands.Columns);
            if (store.FailedReason is { } damage) Session.Say($"The store is damaged, and points after the damage are missing: {damage}. See: srctl store verify {store.Folder}");
            return ExitCode.Done;
        });
        return command;
    }

    /// <summary>Read as a point's time in at:TIME is.</summary>
    private static Option<DateTimeOffset?> Time(string name, string description) => new(name)
    {
        Description = description,
        CustomParser = given =>
        {
            if (PointSelector.ParseTime(given.Tokens.Single().Value) is { } time) return time;
            given.AddError($"{name} is '{given.Tokens.Single().Value}': give a time such as 2026-01-31T03:00:00Z");
            return null;
        },
    };

    public static JsonNode Describe(RecoveryPoint point) => new JsonObject
    {
        ["id"] = point.Id, ["at"] = point.At, ["kind"] = point.Kind == PointKind.ApplicationConsistent ? "applicationConsistent" : "crashConsistent",
        ["label"] = point.Label, ["epoch"] = point.Epoch.Value, ["sequence"] = point.Sequence.Value,
    };

    private static JsonNode Describe(RecoveryPoint point, PointNote note, PointSignals? signals, bool jump)
    {
        var described = Describe(point);
        (described["protected"], described["verifiedAt"], described["damage"]) = (note.Protected, note.VerifiedAt, note.Damage);
        if (signals is not null)
            described["signals"] = new JsonObject { ["entropy"] = signals.Entropy, ["writtenBytes"] = signals.WrittenBytes, ["overwriteRate"] = (long)signals.OverwriteRate, ["jump"] = jump };
        described["verification"] = note.Damage is not null ? "damaged" : note.VerifiedAt is not null ? "verified" : "unverified";
        return described;
    }

    public static JsonNode Describe(StoreDamage damage) => new JsonObject { ["file"] = damage.File, ["offset"] = damage.Offset, ["reason"] = damage.Reason };

    private static JsonNode Describe(string folder)
    {
        using var store = StoreFolder.Open(folder);
        var manifest = StoreManifest.Parse(File.ReadAllBytes(Path.Combine(folder, StoreManifest.FileName)));
        return new JsonObject
        {
            ["folder"] = folder, ["machine"] = store.Machine.Value, ["version"] = manifest.Version,
            ["disks"] = store.Disks.Select(d => (JsonNode)new JsonObject { ["index"] = d.Index, ["name"] = d.Name, ["sizeBytes"] = d.SizeBytes, ["base"] = d.Base }).ToJson(),
            ["epochs"] = manifest.Epochs.Select(e => (JsonNode)new JsonObject
            {
                ["epoch"] = e.Epoch, ["openedAt"] = e.OpenedAt,
                ["continuesAfter"] = e.ContinuesAfter,
                ["forkedFrom"] = e.ForkedFromEpoch == 0 ? null : RecoveryPoint.IdOf(new Epoch(e.ForkedFromEpoch), new Sequence(e.ForkedFromSequence)),
            }).ToJson(),
            ["newest"] = store.ConsistentUpTo is { } newest ? Describe(newest) : null,
            ["points"] = store.Points.Count, ["consistent"] = store.Consistent, ["currentAsOf"] = store.CurrentAsOf,
            ["logBytes"] = store.Bytes, ["tornTailBytes"] = store.CutBytes,
            ["damaged"] = store.Damage.Count > 0, ["damage"] = store.Damage.Select(Describe).ToJson(),
        };
    }
}
