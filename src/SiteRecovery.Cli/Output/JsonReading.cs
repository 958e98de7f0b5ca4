using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

/// <summary>Reads answers without presuming what a node of another version puts into them.</summary>
internal static class JsonReading
{
    // What has a name twice is refused here, and not where its properties are first looked at.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    /// <exception cref="JsonException">It is no JSON, has a property twice or a text that is none.</exception>
    public static JsonNode? Parse(ReadOnlySpan<byte> utf8)
    {
        var reader = new Utf8JsonReader(utf8);
        try
        {
            while (reader.Read())
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName) reader.GetString();
        }
        catch (InvalidOperationException half)
        {
            throw new JsonException("a text has half a character", half);
        }
        return JsonNode.Parse(utf8, null, Strict);
    }

    public static JsonNode? Parse(string text) => Parse(System.Text.Encoding.UTF8.GetBytes(text));

    /// <param name="path">Names joined by dots. Null where any of them is missing.</param>
    public static JsonNode? At(this JsonNode? node, string path)
    {
        foreach (var name in path.Split('.'))
        {
            if (node is not JsonObject found || !found.TryGetPropertyValue(name, out node)) return null;
        }
        return node;
    }

    public static bool IsTrue(this JsonNode? node) => node?.GetValueKind() == JsonValueKind.True;

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
