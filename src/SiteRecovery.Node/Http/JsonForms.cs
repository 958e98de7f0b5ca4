using System.Collections;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Domain.Vaults;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <summary>How the API writes the domain's types: names and ids as text, durations as "30s".</summary>
public static class JsonForms
{
    public static void AddTo(JsonSerializerOptions options)
    {
        // A misspelt setting must not pass for a default.
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.TypeInfoResolver = (options.TypeInfoResolver ?? new DefaultJsonTypeInfoResolver()).WithAddedModifier(RefuseNullItems);
        options.Converters.Add(new JsonStringEnumConverter<PointKind>(JsonNamingPolicy.CamelCase, allowIntegerValues: false));
        // Before what the types themselves say, which takes numbers as well: a role of 4 is nobody's intention.
        options.Converters.Add(new JsonStringEnumConverter(namingPolicy: null, allowIntegerValues: false));
        options.Converters.Add(new TextForm<SiteName>(v => v.Value, t => new SiteName(t)));
        options.Converters.Add(new TextForm<AgentName>(v => v.Value, t => new AgentName(t)));
        options.Converters.Add(new TextForm<MachineId>(v => v.Value, t => new MachineId(t)));
        options.Converters.Add(new TextForm<JobId>(v => v.Value, t => new JobId(t)));
        options.Converters.Add(new TextForm<TimeSpan>(Text, t => Duration(t) ?? throw new JsonException($"'{t}' is not a duration such as 500ms, 30s, 5m, 24h or 7d.")));
    }

    public static TimeSpan? Duration(string text) => SettingValues.Duration(text) is { } seconds && seconds < TimeSpan.MaxValue.TotalSeconds ? TimeSpan.FromSeconds(seconds) : null;

    public static string Text(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", CultureInfo.InvariantCulture);

    public static string Text(TimeSpan span)
    {
        var (number, unit) = span switch
        {
            _ when span.Ticks % TimeSpan.TicksPerSecond != 0 => (Math.Round(span.TotalMilliseconds), "ms"),
            _ when span != default && span.Ticks % TimeSpan.TicksPerDay == 0 => (span.TotalDays, "d"),
            _ when span != default && span.Ticks % TimeSpan.TicksPerHour == 0 => (span.TotalHours, "h"),
            _ when span != default && span.Ticks % TimeSpan.TicksPerMinute == 0 => (span.TotalMinutes, "m"),
            _ => (span.TotalSeconds, "s"),
        };
        return number.ToString(CultureInfo.InvariantCulture) + unit;
    }

    /// <summary>No list of the API has a place for null, and nobody who reads one looks for it.</summary>
    private static void RefuseNullItems(JsonTypeInfo type)
    {
        if (type.Kind != JsonTypeInfoKind.Object) return;
        var lists = type.Properties.Where(p => p.Get is not null && typeof(IEnumerable).IsAssignableFrom(p.PropertyType) && p.PropertyType.GenericTypeArguments is [{ IsValueType: false }]).ToArray();
        if (lists.Length == 0) return;
        var before = type.OnDeserialized;
        type.OnDeserialized = read =>
        {
            before?.Invoke(read);
            foreach (var list in lists)
                if (list.Get!(read) is IEnumerable items && !IsMissing(items) && items.Cast<object?>().Contains(null)) throw new JsonException($"{list.Name} holds null.");
        };
    }

    // An ImmutableArray that was left out cannot even be asked how long it is.
    private static bool IsMissing(IEnumerable items) => items.GetType() is { IsValueType: true } type && items.Equals(Activator.CreateInstance(type));

    private sealed class TextForm<T>(Func<T, string> write, Func<string, T> read) : JsonConverter<T>
    {
        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            read(reader.GetString() ?? throw new JsonException("text is expected"));

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(write(value));
    }
}
