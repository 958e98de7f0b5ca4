using System.Globalization;
using System.Text.Json.Nodes;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Cli.Output;

/// <summary>How people read and write bytes, times and durations.</summary>
internal static class Forms
{
    private static readonly string[] Units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

    public static string Bytes(long bytes)
    {
        var (number, unit) = ((double)bytes, 0);
        for (; Math.Abs(number) >= 1024 && unit < Units.Length - 1; unit++) number /= 1024;
        return unit == 0 ? $"{bytes} B" : string.Create(CultureInfo.InvariantCulture, $"{number:0.0} {Units[unit]}");
    }

    public static string Bytes(JsonNode? node) => node.Number() is { } bytes ? Bytes(bytes) : node.Text();

    /// <summary>Reads "4096", "64KiB", "20G" (powers of 1024); null if it is none of them.</summary>
    public static long? ParseBytes(string text)
    {
        var digits = text.TakeWhile(char.IsAsciiDigit).Count();
        var unit = text[digits..].Trim().ToUpperInvariant().TrimEnd('B').TrimEnd('I');
        var power = unit.Length == 0 ? 0 : Array.IndexOf(["K", "M", "G", "T", "P"], unit) + 1;
        return (unit.Length == 0 || power > 0) && long.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number <= long.MaxValue >> (10 * power) ? number << (10 * power) : null;
    }

    /// <summary>Reads "500ms", "30s", "5m", "24h", "7d"; null if it is none of them.</summary>
    public static TimeSpan? ParseDuration(string text)
    {
        var digits = text.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
        if (!double.TryParse(text[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)) return null;
        double? seconds = text[digits..] switch { "ms" => number / 1000, "s" => number, "m" => number * 60, "h" => number * 3600, "d" => number * 86400, _ => null };
        return seconds < TimeSpan.MaxValue.TotalSeconds ? TimeSpan.FromSeconds(seconds.Value) : null;
    }

    /// <summary>RFC 3339 in UTC to the last digit: <c>at:</c> with it finds this very point.</summary>
    public static string ExactTime(JsonNode? node) => node.Time() is { } time
        ? time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", CultureInfo.InvariantCulture) : node.Text();

    public static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    public static string Time(JsonNode? node) => node.Time() is { } time ? Time(time) : node.Text();

    public static string Span(TimeSpan span) => Durations.Text(span);

    /// <summary>"14677ms" as "15s"; what is no duration stays as it is.</summary>
    public static string Duration(JsonNode? node) => ParseDuration(node.Text()) is { TotalSeconds: >= 1 } span ? Span(span) : node.Text();

    /// <summary>"42 %, 1.2 GiB of 3.0 GiB, 80.0 MiB/s, 23s left", of what is known.</summary>
    public static string Progress(JsonNode? progress)
    {
        if (progress is not JsonObject) return progress.Text();
        List<string> parts = [];
        var (done, total) = (progress.At("bytesDone").Number(), progress.At("bytesTotal").Number());
        if (done is { } d && total is > 0 and { } t) parts.AddRange([$"{d * 100 / t} %", $"{Bytes(d)} of {Bytes(t)}"]);
        else if (done is { } only) parts.Add(Bytes(only));
        if (progress.At("bytesPerSecond").Number() is { } rate) parts.Add($"{Bytes(rate)}/s");
        if (progress.At("eta") is { } eta) parts.Add(eta.Time() is { } at ? $"ready at {Time(at)}" : $"{Duration(eta)} left");
        return parts.Count == 0 ? "-" : string.Join(", ", parts);
    }
}
