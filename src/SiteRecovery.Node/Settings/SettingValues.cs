using System.Globalization;
using Akka.Configuration;

namespace SiteRecovery.Node.Settings;

/// <summary>Reads a value as its kind, strictly, where Akka's readers would guess.</summary>
public static class SettingValues
{
    private static readonly (string Unit, double Factor)[] Durations =
        [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];

    private static readonly (string Unit, double Factor)[] Sizes =
        [("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("B", 1), ("", 1)];

    public static double? Duration(string text) => Scaled(text, Durations);

    public static double? Size(string text) => Scaled(text, Sizes);

    /// <summary>What is wrong with a setting's value, as the end of a sentence; null if nothing is.</summary>
    public static string? Problem(SettingDefinition setting, Config config)
    {
        if (setting.Kind == SettingKind.TextList) return ListProblem(setting, config);
        string text;
        try
        {
            text = config.GetString(setting.Key) ?? "";
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return "must be a single value, not a list or a block.";
        }
        return setting.Kind switch
        {
            SettingKind.Count => Range(setting, text, long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : null, "a whole number"),
            SettingKind.Bytes => Range(setting, text, Size(text), "a size in bytes such as 1MiB"),
            SettingKind.Duration => Range(setting, text, Duration(text), "a duration such as 500ms, 30s, 5m, 24h or 7d"),
            _ when setting.OneOf is { } allowed && !allowed.Contains(text) => $"is '{text}'; it must be one of {string.Join(", ", allowed)}.",
            _ => null,
        };
    }

    private static string? ListProblem(SettingDefinition setting, Config config)
    {
        try
        {
            var wrong = config.GetStringList(setting.Key).FirstOrDefault(v => setting.OneOf?.Contains(v) == false);
            return wrong is null ? null : $"has '{wrong}'; it may hold {string.Join(", ", setting.OneOf!)}.";
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return "must be a list such as [a, b].";
        }
    }

    private static string? Range(SettingDefinition setting, string text, double? value, string what) =>
        value is null ? $"is '{text}'; it must be {what}."
        : value < setting.Min || value > setting.Max ? $"is '{text}'; it must lie between {Shown(setting, setting.Min)} and {Shown(setting, setting.Max)}."
        : null;

    private static string Shown(SettingDefinition setting, double value) => setting.Kind switch
    {
        SettingKind.Duration => string.Create(CultureInfo.InvariantCulture, $"{value} s"),
        SettingKind.Bytes => string.Create(CultureInfo.InvariantCulture, $"{value} bytes"),
        _ => value.ToString(CultureInfo.InvariantCulture),
    };

    private static double? Scaled(string text, (string Unit, double Factor)[] units)
    {
        var digits = text.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
        var unit = text[digits..].Trim();
        foreach (var (name, factor) in units)
            if (name == unit && double.TryParse(text.AsSpan(0, digits), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return number * factor;
        return null;
    }
}
