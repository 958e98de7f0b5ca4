using System.Text.Json;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>What a node says to a peer that it does not let join, or whose certificate it does not renew.</summary>
public static class JoinRefusal
{
    /// <summary>The problem's detail, remedy and code, for people: as JSON the command that they are to type is full of escapes.</summary>
    /// <param name="answer">The body; one that is no problem is told as it is.</param>
    public static string TextOf(string answer)
    {
        try
        {
            using var problem = JsonDocument.Parse(answer);
            return problem.RootElement.ValueKind == JsonValueKind.Object && Text("detail") is { } detail ? $"{detail} {Text("remedy")} [{Text("code")}]" : answer;

            string? Text(string name) => problem.RootElement.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (JsonException)
        {
            return answer;
        }
    }
}
