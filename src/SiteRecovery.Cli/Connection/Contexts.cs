using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Cli.Connection;

/// <summary>Named clusters in the user's configuration folder. It holds paths of tokens, never tokens.</summary>
internal sealed class Contexts
{
    private readonly SortedDictionary<string, Target> _all = new(StringComparer.Ordinal);

    public string? Current { get; private set; }
    public IReadOnlyDictionary<string, Target> All => _all;

    // On Linux: $XDG_CONFIG_HOME, else ~/.config.
    private static string FilePath => Path.Combine(
        Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData, Environment.SpecialFolderOption.DoNotVerify), "siterecovery", "contexts.json");

    public static Contexts Load()
    {
        var contexts = new Contexts();
        try
        {
            if (RealFileSystem.Instance.TryReadAll(FilePath) is not { } bytes) return contexts;
            var file = JsonReading.Parse(bytes);
            foreach (var (name, value) in file.At("contexts") as JsonObject ?? [])
                contexts._all[name] = new Target(ConnectionOptions.Parse((value.At("servers") as JsonArray ?? []).Select(s => s.Text())), (string?)value.At("tokenFile"), (string?)value.At("caFile"));
            contexts.Current = (string?)file.At("current");
            return contexts;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            throw new CommandProblem(ExitCode.Usage, $"{FilePath} cannot be read", e.Message, "Mend the file or delete it, then add the contexts again.", e);
        }
    }

    public Target? Find(string? name) => (name ?? Current) is { } wanted ? _all.GetValueOrDefault(wanted) : null;

    public void Add(string name, Target target)
    {
        _all[name] = target;
        Current ??= name;
    }

    public void Use(string name)
    {
        Require(name);
        Current = name;
    }

    public void Remove(string name)
    {
        Require(name);
        _all.Remove(name);
        if (Current == name) Current = null;
    }

    public void Save()
    {
        var all = new JsonObject();
        foreach (var (name, target) in _all)
            all[name] = new JsonObject { ["servers"] = target.Servers.Select(s => s.ToString()).ToJson(), ["tokenFile"] = target.TokenFile, ["caFile"] = target.CaFile };
        try
        {
            RealFileSystem.Instance.CreateDirectory(Path.GetDirectoryName(FilePath)!);
            RealFileSystem.Instance.Replace(FilePath, Encoding.UTF8.GetBytes(new JsonObject { ["current"] = Current, ["contexts"] = all }.ToJsonString() + "\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandProblem(ExitCode.Failed, $"{FilePath} cannot be written", e.Message, "Make the folder writable, or set XDG_CONFIG_HOME.", e);
        }
    }

    public static IEnumerable<string> NamesForCompletion()
    {
        try
        {
            return Load().All.Keys;
        }
        catch (CommandProblem)
        {
            return []; // a completion has nowhere to say it
        }
    }

    private void Require(string name)
    {
        if (!_all.ContainsKey(name)) throw new CommandProblem(ExitCode.NotFound, $"there is no context '{name}'", null, "List them: srctl context list.");
    }
}
