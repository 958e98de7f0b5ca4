using System.CommandLine;

namespace SiteRecovery.Cli;

/// <summary>The filters of a list, named as their options are.</summary>
internal static class Query
{
    public static string Of(ParseResult arguments, params Option<string?>[] filters)
    {
        var given = filters.Select(o => (o.Name, Value: arguments.GetValue(o))).Where(f => f.Value is not null)
            .Select(f => $"{f.Name.TrimStart('-')}={Uri.EscapeDataString(f.Value!)}").ToArray();
        return given.Length == 0 ? "" : $"?{string.Join('&', given)}";
    }
}
