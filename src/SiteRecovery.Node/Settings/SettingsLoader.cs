using Akka.Configuration;
using Akka.Configuration.Hocon;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Node.Settings;

/// <summary>A setting that cannot be used; its message is for the operator.</summary>
public sealed class SettingsException(string message) : Exception(message);

/// <summary>Layers the HOCON files, the environment and the command line, and refuses what is not documented.</summary>
public sealed class SettingsLoader(IFileSystem files, string hoconFolder)
{
    private const string EnvironmentPrefix = "SITERECOVERY__";

    public static SettingsLoader Installed() =>
        new(RealFileSystem.Instance, Path.Combine(AppContext.BaseDirectory, "hocon"));

    /// <param name="configFile">Null: none.</param>
    /// <param name="commandLine">Full keys and values as text.</param>
    public Config Load(string? configFile, IReadOnlyDictionary<string, string> environment, IReadOnlyDictionary<string, string> commandLine)
    {
        var arguments = Overlay(commandLine, key => $"command line ({key})");
        var variables = Overlay(FromEnvironment(environment), key => $"environment ({VariableOf(key)})");
        // Akka has one empty configuration, which refuses itself as a fallback.
        var upper = arguments.IsEmpty ? variables : arguments.WithFallback(variables);
        if (configFile is not null) upper = upper.WithFallback(ParseFile(configFile));
        var reference = ParseFile(Path.Combine(hoconFolder, "reference.conf"));
        var sofar = upper.WithFallback(reference);
        var provider = sofar.GetString("siterecovery.persistence.provider");
        var config = upper.WithFallback(ParseFile(Path.Combine(hoconFolder, "persistence", $"{provider}.conf")));
        foreach (var role in sofar.GetStringList("siterecovery.node.roles"))
            config = config.WithFallback(ParseFile(Path.Combine(hoconFolder, "roles", $"{role}.conf")));
        return config.WithFallback(reference);
    }

    private static readonly TimeSpan ParserPatience = TimeSpan.FromSeconds(10);

    public Config ParseFile(string path)
    {
        var bytes = files.TryReadAll(path) ?? throw new SettingsException($"{path}: there is no such file. Name an existing HOCON file with --config.");
        return Parse(System.Text.Encoding.UTF8.GetString(bytes), path);
    }

    /// <param name="source">How errors name the text: a file, usually.</param>
    public static Config Parse(string text, string source)
    {
        if (text.IndexOf("${", StringComparison.Ordinal) is var at and >= 0)
            throw new SettingsException($"{source}:{1 + text.AsSpan(0, at).Count('\n')}: substitutions with ${{…}} are not supported. Write the value, or set it by an environment variable {EnvironmentPrefix}….");
        if (HoconShape.Problem(text) is var (wrong, what)) throw new SettingsException($"{source}:{wrong}: not valid HOCON: {what}.");
        Config config;
        // On a thread of its own, which ends with the process: from some texts the parser does not come back.
        var parsing = Task.Factory.StartNew(() => ConfigurationFactory.ParseString(text), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        if (Task.WaitAny([parsing], ParserPatience) < 0)
            throw new SettingsException($"{source}: not valid HOCON: the parser has not come back from it within {ParserPatience.TotalSeconds:0} s. Look for quotes and brackets that are not closed.");
        try
        {
            config = parsing.GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            throw new SettingsException($"{source}: not valid HOCON: {e.Message}");
        }
        foreach (var (key, line) in KeyScanner.Scan(text)) Check(key, config, $"{source}:{line}");
        return config;
    }

    private static bool IsOurs(string key) => key == SettingCatalogue.Root || key.StartsWith(SettingCatalogue.Root + ".", StringComparison.Ordinal);

    private static SettingDefinition Existing(string key, string where) => SettingCatalogue.Find(key)
        ?? throw new SettingsException($"{where}: '{key}' is not a setting. The nearest is '{SettingCatalogue.Nearest(key)}'.");

    private static void Check(string key, Config config, string where)
    {
        if (!IsOurs(key)) return;
        var setting = Existing(key, where);
        if (SettingValues.Problem(setting, config) is { } problem) throw new SettingsException($"{where}: '{key}' {problem}");
    }

    private static Config Overlay(IReadOnlyDictionary<string, string> values, Func<string, string> source)
    {
        var config = Config.Empty;
        foreach (var (key, value) in values.OrderBy(v => v.Key, StringComparer.Ordinal))
        {
            // Before anything is made of it: a variable may have any name.
            if (IsOurs(key)) _ = Existing(key, source(key));
            var one = SettingCatalogue.Find(key)?.Kind == SettingKind.TextList ? Made(key, [.. value.Split(',').Select(v => Text(v.Trim()))]) : Made(key, Text(value));
            Check(key, one, source(key));
            config = one.WithFallback(config);
        }
        return config;
    }

    /// <summary>Without the parser, which would read the value as HOCON.</summary>
    private static Config Made(string key, IHoconElement value)
    {
        var root = new HoconValue();
        var at = root;
        foreach (var name in key.Split('.'))
        {
            var block = new HoconObject();
            at.AppendValue(block);
            at = block.GetOrCreateKey(name);
        }
        at.AppendValue(value);
        return new Config(new HoconRoot(root));
    }

    private static HoconLiteral Text(string value) => new() { Value = value };

    private static Config Made(string key, IEnumerable<HoconLiteral> values)
    {
        var list = new HoconArray();
        foreach (var value in values)
        {
            var item = new HoconValue();
            item.AppendValue(value);
            list.Add(item);
        }
        return Made(key, list);
    }

    /// <summary>A text within HOCON: whatever it holds, it ends where it ends.</summary>
    internal static string Quoted(string text) => $"\"{string.Concat(text.Select(c => c is '"' or '\\' ? $"\\{c}" : char.IsControl(c) ? $"\\u{(int)c:x4}" : $"{c}"))}\"";

    private static Dictionary<string, string> FromEnvironment(IReadOnlyDictionary<string, string> environment) => environment
        .Where(v => v.Key.StartsWith(EnvironmentPrefix, StringComparison.Ordinal))
        .GroupBy(v => v.Key.Replace("__", ".").Replace('_', '-').ToLowerInvariant())
        .ToDictionary(named => named.Key, named => named.Count() == 1 ? named.First().Value
            : throw new SettingsException($"environment: '{named.Key}' is set by {string.Join(" and ", named.Select(v => v.Key).Order(StringComparer.Ordinal))}. Keep one of them."));

    private static string VariableOf(string key) => key.Replace('-', '_').Replace(".", "__").ToUpperInvariant();
}
