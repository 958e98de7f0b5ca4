using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli.Store;

/// <summary><c>srctl store verify</c>: every frame of the log is read and checked.</summary>
internal static class StoreVerify
{
    private static readonly Column[] DamageColumns = [Column.Of("FILE", "file"), Column.Of("OFFSET", "offset"), Column.Of("REASON", "reason")];

    public static Command Create()
    {
        var folder = StoreFolder.Argument();
        var command = new Command("verify", "Read and check every byte of a store, or of every store in a directory; exit code 1 on damage") { folder, StoreFolder.KeyFile, StoreFolder.KeyCommand };
        command.SetAction(arguments =>
        {
            var all = StoreFolder.Each(arguments.GetRequiredValue(folder), f => Verify(f, arguments));
            var data = Session.DataOf(arguments);
            var damage = all.SelectMany(s => s.At("damage").Items()).ToList();
            if (!data.IsForPeople) data.List(all, []);
            else if (damage.Count > 0) data.Table(damage, DamageColumns);
            if (damage.Count == 0) return all.Any(s => s.At("error") is not null) ? ExitCode.Failed : ExitCode.Done;
            Session.Say("What precedes the damage stays viewable and can be exported; 'srctl store points' lists it. Keep a copy of the store before anything else.");
            return ExitCode.Failed;
        });
        return command;
    }

    private static JsonNode Verify(string folder, ParseResult arguments)
    {
        using var store = StoreFolder.Open(folder, arguments);
        Session.Say($"verifying {store.Machine} in {folder}: {Forms.Bytes(store.Bytes)}");
        var damage = store.Verify();
        Session.Say(damage.Count > 0 ? $"{store.Machine}: DAMAGED at {damage.Count} place(s)"
            : $"{store.Machine}: good up to {store.ConsistentUpTo?.Id ?? "nothing"}{(store.CutBytes > 0 ? $"; {Forms.Bytes(store.CutBytes)} at the end are a torn write that was never acknowledged" : "")}");
        return new JsonObject
        {
            ["folder"] = folder, ["machine"] = store.Machine.Value, ["good"] = damage.Count == 0, ["bytes"] = store.Bytes, ["tornTailBytes"] = store.CutBytes,
            ["newest"] = store.ConsistentUpTo is { } newest ? StoreCommands.Describe(newest) : null, ["damage"] = damage.Select(StoreCommands.Describe).ToJson(),
        };
    }
}
