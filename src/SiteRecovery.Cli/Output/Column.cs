using System.Text.Json.Nodes;

namespace SiteRecovery.Cli.Output;

/// <param name="Wide">Shown only by <c>-o wide</c>.</param>
internal sealed record Column(string Title, Func<JsonNode, string> Value, bool Wide = false)
{
    public static Column Of(string title, string path, bool wide = false) => new(title, item => item.At(path).Text(), wide);
}
