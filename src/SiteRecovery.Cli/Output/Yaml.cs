using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

/// <summary>JSON written as block-style YAML 1.2. A text that YAML 1.1 or 1.2 could take for anything else is quoted as JSON quotes it.</summary>
internal static class Yaml
{
    public static string Write(JsonNode? node)
    {
        var text = new StringBuilder();
        if (node is JsonObject { Count: > 0 } or JsonArray { Count: > 0 }) Block(text, node, 0);
        else text.Append(Scalar(node)).Append('\n');
        return text.ToString();
    }

    private static void Block(StringBuilder text, JsonNode node, int depth)
    {
        if (node is JsonArray array)
            foreach (var item in array) Entry(text.Append(' ', depth).Append('-'), item, depth, inArray: true);
        else
            foreach (var (name, value) in node.AsObject())
                Entry(text.Append(' ', depth).Append(Quoted(name)).Append(':'), value, depth, inArray: false);
    }

    private static void Entry(StringBuilder text, JsonNode? value, int depth, bool inArray)
    {
        if (value is not (JsonObject { Count: > 0 } or JsonArray { Count: > 0 }))
        {
            text.Append(' ').Append(Scalar(value)).Append('\n');
            return;
        }
        var at = text.Append(inArray ? ' ' : '\n').Length;
        Block(text, value, depth + 2);
        if (inArray) text.Remove(at, depth + 2); // the first entry stands on the line of its dash
    }

    private static string Scalar(JsonNode? node) => node switch
    {
        null => "null",
        JsonObject => "{}",
        JsonArray => "[]",
        _ when node.GetValueKind() == JsonValueKind.String => Quoted(node.Text()),
        _ => node.ToJsonString(),
    };

    private static string Quoted(string text) => IsPlain(text) ? text : $"\"{JsonEncodedText.Encode(text, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    // Letters first rules out numbers, times and indicators; what is left are the words with a meaning of their own.
    private static bool IsPlain(string text) => text.Length > 0 && char.IsAsciiLetter(text[0])
        && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/' or ' ') && text[^1] != ' '
        && text.ToLowerInvariant() is not ("true" or "false" or "yes" or "no" or "on" or "off" or "y" or "n" or "null");
}
