using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

/// <summary>Reads answers without presuming what a node of another version puts into them.</summary>
internal static class JsonReading
{
    /// <param name="path">Names joined by dots. Null where any of them is missing.</param>
    public static JsonNode? At(this JsonNode? node, string path)
    {
        foreach (var name in path.Split('.'))
        {
            if (node is not JsonObject found || !found.TryGetPropertyValue(name, out node)) return null;
        }
        return node;
    }

    public static string Text(this JsonNode? node) => node switch
    {
        null => "-",
        JsonArray array => array.Count == 0 ? "-" : string.Join(",", array.Select(Text)),
        JsonObject map => string.Join(" ", map.Select(p => $"{p.Key}={p.Value.Text()}")),
        _ => node.GetValueKind() switch
        {
            JsonValueKind.String => node.AsValue().TryGetValue<string>(out var text) ? text : node.ToJsonString().Trim('"'),
            JsonValueKind.True => "yes",
            JsonValueKind.False => "no",
            _ => node.ToJsonString(),
        },
    };

    public static long? Number(this JsonNode? node) => node is JsonValue && node.GetValueKind() == JsonValueKind.Number
        && double.TryParse(node.ToJsonString(), CultureInfo.InvariantCulture, out var number)
        ? long.TryParse(node.ToJsonString(), CultureInfo.InvariantCulture, out var whole) ? whole : (long)number
        : null;

    public static DateTimeOffset? Time(this JsonNode? node) => node is JsonValue && node.GetValueKind() == JsonValueKind.String
        && DateTimeOffset.TryParse(node.Text(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    public static IReadOnlyList<JsonNode> Items(this JsonNode? node) => [.. (node as JsonArray ?? node.At("items") as JsonArray ?? []).OfType<JsonNode>()];

    public static JsonArray ToJson(this IEnumerable<JsonNode?> nodes) => new([.. nodes]);

    public static JsonArray ToJson(this IEnumerable<string> texts) => new([.. texts.Select(t => (JsonNode?)JsonValue.Create(t))]);
}
