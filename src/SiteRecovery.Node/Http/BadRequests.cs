using System.Text.Json;
using System.Text.RegularExpressions;

namespace SiteRecovery.Node.Http;

/// <summary>
/// What the framework says of a request that it cannot read, without its types and ours. It has no codes, so that its words must do; those that are not known here are passed on.
/// What our own forms say is for users already.
/// </summary>
public static partial class BadRequests
{
    public static string Explain(BadHttpRequestException bad)
    {
        for (var inner = bad.InnerException; inner is not null; inner = inner.InnerException)
            if (inner is JsonException json) return Explain(json);
        if (Unbound().Match(bad.Message) is { Success: true } value) return $"{value.Groups["name"]} is '{value.Groups["value"]}', which is not of the form that belongs there.";
        return NoBody().IsMatch(bad.Message) ? "The request has no body." : bad.Message;
    }

    public static string Explain(JsonException json)
    {
        var place = json.Path is ['$', '.', .. var path] ? path : "";
        var said = Place().Replace(json.Message, "");
        if (said.Contains("could not be mapped to any .NET member", StringComparison.Ordinal)) return $"There is no property '{place}'.";
        if (Missing().Match(said) is { Success: true } missing) return $"{(place.Length == 0 ? "The body" : place)} lacks {missing.Groups["names"]}.";
        if (said.Contains("could not be converted to ", StringComparison.Ordinal) || said.Contains("JSON deserialization for type", StringComparison.Ordinal))
            return $"{(place.Length == 0 ? "The body" : place)} is not of the form that belongs there.";
        return place.Length == 0 || said.StartsWith(place, StringComparison.Ordinal) ? said : $"{place}: {said}";
    }

    [GeneratedRegex("^Failed to bind parameter \"\\S+ (?<name>\\S+)\" from \"(?<value>.*)\"\\.$", RegexOptions.Singleline)]
    private static partial Regex Unbound();

    [GeneratedRegex("no body was provided|was not provided from body")]
    private static partial Regex NoBody();

    [GeneratedRegex("missing required properties[^:]*: (?<names>.*?)\\.?$")]
    private static partial Regex Missing();

    [GeneratedRegex(" Path: \\$.*$", RegexOptions.Singleline)]
    private static partial Regex Place();
}
