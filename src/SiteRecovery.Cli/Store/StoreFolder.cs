using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Cli.Store;

/// <summary>
/// A retention store's directory, read without a cluster. It is opened read-only: a master target may be writing to it.
/// </summary>
internal static class StoreFolder
{
    public static readonly Option<string> Point = new("--point")
    {
        Description = PointText.Description,
        DefaultValueFactory = _ => "latest",
        CompletionSources = { "latest", "latest-application-consistent", "at:" },
    };

    public static readonly Option<string?> KeyFile = new("--key-file") { Description = "Of an encrypted store: the file with the key of its master target" };
    public static readonly Option<string?> KeyCommand = new("--key-command") { Description = "Or the command that unwraps its keys" };

    public static Argument<string> Argument() => new("dir") { Description = "The store's directory; it holds MANIFEST.json" };

    /// <summary>The stores in a directory: itself, or those directly below it, as in a node's stores directory.</summary>
    public static IReadOnlyList<string> Find(string folder)
    {
        if (!Directory.Exists(folder))
            throw new CommandProblem(ExitCode.NotFound, $"there is no directory {folder}", null, "Name a store's directory; a node keeps one per machine in DATA/master-target/stores/.");
        try
        {
            if (IsStore(folder)) return [folder];
            string[] below = [.. Directory.GetDirectories(folder).Where(IsStore).Order(StringComparer.Ordinal)];
            return below.Length > 0 ? below : throw new CommandProblem(ExitCode.NotFound, $"{folder} holds no store", $"There is no {StoreManifest.FileName} in it or directly below it.", "Name a store's directory; a node keeps one per machine in DATA/master-target/stores/.");
        }
        catch (UnauthorizedAccessException e)
        {
            throw NotReadable(folder, e);
        }
    }

    /// <summary>What is told of each store in a directory; one that cannot be read is listed with <c>error</c> and hides none of the others.</summary>
    public static IReadOnlyList<JsonNode> Each(string folder, Func<string, JsonNode> tell)
    {
        var found = Find(folder);
        return found is [var only] && only == folder ? [tell(only)] : [.. found.Select(OrError)];

        JsonNode OrError(string store)
        {
            try
            {
                return tell(store);
            }
            catch (CommandProblem problem)
            {
                problem.WriteTo(Console.Error);
                return new JsonObject { ["folder"] = store, ["error"] = problem.Why ?? problem.Message };
            }
            catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                Session.Say($"{store}: {e.Message}");
                return new JsonObject { ["folder"] = store, ["error"] = e.Message };
            }
        }
    }

    public static RetentionStore OpenOne(string folder, ParseResult? keys = null)
    {
        var found = Find(folder);
        if (found is [var only] && only == folder) return Open(folder, keys);
        throw CommandProblem.Usage($"{folder} is no store itself, but holds {found.Count}: {string.Join(", ", found.Select(Path.GetFileName))}", $"Name one of them, e.g. {found[0]}.");
    }

    /// <param name="keys">Of a command with the two options: what is encrypted is to be read. Null: it need not be.</param>
    public static RetentionStore Open(string folder, ParseResult? keys = null)
    {
        RetentionStore? store = null;
        try
        {
            store = RetentionStore.Open(folder, RealFileSystem.Instance, TimeProvider.System, readOnly: true, new StoreOptions { Keys = keys is null ? null : Wrappings(keys) });
            if (keys is not null) store.Unlock();
            return store;
        }
        catch (StoreLockedException locked)
        {
            store!.Dispose();
            throw new CommandProblem(ExitCode.Failed, $"the store in {folder} cannot be read", locked.Message, "Give --key-file FILE or --key-command COMMAND, as its master target is set up with.", locked);
        }
        catch (UnauthorizedAccessException e)
        {
            throw NotReadable(folder, e);
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw new CommandProblem(ExitCode.Failed, $"the store in {folder} cannot be opened", e.Message, $"If {StoreManifest.FileName} is damaged, restore it from a copy; the log beside it is not touched.", e);
        }
    }

    private static KeyWrappings Wrappings(ParseResult keys)
    {
        IKeyWrapping[] given = [.. keys.GetValue(KeyFile) is { } file ? [new DataPlane.Keys.KeyFile(file, RealFileSystem.Instance)] : (IKeyWrapping[])[], .. keys.GetValue(KeyCommand) is { } command ? [new DataPlane.Keys.KeyCommand(command)] : (IKeyWrapping[])[]];
        return new KeyWrappings(null, given, KeyWrappings.RenewAfterDefault);
    }

    public static RecoveryPoint Choose(RetentionStore store, string text)
    {
        var selector = PointText.Read(text);
        if (selector is PointSelector.AtTime at && at.IsAhead(TimeProvider.System.GetUtcNow(), store.ConsistentUpTo))
            throw new CommandProblem(ExitCode.Usage, $"'{text}' was read as {Output.Forms.Time(at.Time)} (UTC), which is ahead of this host's clock", Reason(store), "Give latest, or a time with its zone, such as at:2026-01-31T04:00:00+01:00.");
        return store.ResolvePoint(selector) ?? throw new CommandProblem(ExitCode.NotFound,
            $"the store of {store.Machine} has no point '{text}'", Reason(store, selector), $"List its points: srctl store points {store.Folder}");
    }

    /// <param name="text">Index or name; null where there is only one.</param>
    public static DiskRecord ChooseDisk(RetentionStore store, string? text)
    {
        var names = string.Join(", ", store.Disks.Select(d => $"{d.Index} ({d.Name})"));
        if (text is null)
            return store.Disks is [var only] ? only : throw CommandProblem.Usage($"the store of {store.Machine} has {store.Disks.Count} disks", $"Name one with --disk: {names}.");
        return store.Disks.FirstOrDefault(d => d.Name == text)
            ?? store.Disks.FirstOrDefault(d => d.Index.ToString(CultureInfo.InvariantCulture) == text)
            ?? throw new CommandProblem(ExitCode.NotFound, $"the store of {store.Machine} has no disk '{text}'", null, $"It has: {names}.");
    }

    private static string Reason(RetentionStore store, PointSelector selector) => selector is PointSelector.ById(var id) && RecoveryPoint.TryParseId(id, out var epoch, out var sequence)
        && store.ThinnedAround(epoch, sequence) is { } around ? $"It was thinned away; the nearest that are left are {around.Before.Id} and {around.After.Id}." : Reason(store);

    private static string Reason(RetentionStore store) => store.FailedReason is { } damage ? $"The store is damaged, and what follows the damage is not viewable: {damage}"
        : store.ConsistentUpTo is { } newest ? $"Its newest position is {newest.Id} of {Output.Forms.Time(newest.At)}." : "It holds no consistent position yet.";

    private static CommandProblem NotReadable(string folder, UnauthorizedAccessException e) =>
        new(ExitCode.Failed, $"{folder} cannot be read", e.Message, "Run srctl as a user that may read the store.", e);

    private static bool IsStore(string folder) => RetentionStore.Exists(folder, RealFileSystem.Instance);
}
