using System.Globalization;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <param name="NextCursor">Null on the last page.</param>
public sealed record Page<T>(IReadOnlyList<T> Items, string? NextCursor)
{
    /// <param name="filters">As <see cref="Page.Of"/>.</param>
    public static Page<T> Of(IReadOnlyList<T> all, HttpContext context, params ReadOnlySpan<string> filters)
    {
        var (limit, from) = Page.Of(context, filters);
        var items = all.Skip(from).Take(limit).ToArray();
        return new Page<T>(items, from + items.Length < all.Count ? (from + items.Length).ToString(CultureInfo.InvariantCulture) : null);
    }
}

public static class Page
{
    private static readonly string[] Names = ["limit", "cursor"];

    /// <summary>The query's ?limit= and ?cursor=, checked.</summary>
    /// <param name="filters">What else the list may be asked with. A filter that is none would let everything through.</param>
    public static (int Limit, int From) Of(HttpContext context, params ReadOnlySpan<string> filters)
    {
        string[] known = [.. Names, .. filters];
        if (context.Request.Query.Keys.FirstOrDefault(k => !known.Contains(k, StringComparer.OrdinalIgnoreCase)) is { } unknown)
            throw ProblemException.Invalid($"The list cannot be asked with '{unknown}'.", $"Leave it out, or give one of: {string.Join(", ", known)}.");
        var max = context.RequestServices.GetRequiredService<NodeSettings>().ListItemsMax;
        return (Math.Min(Number(context, "limit") ?? max, max), Number(context, "cursor") ?? 0);
    }

    private static int? Number(HttpContext context, string name)
    {
        var text = context.Request.Query[name].ToString();
        if (text.Length == 0) return null;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && (number > 0 || name == "cursor")
            ? number : throw ProblemException.Invalid($"'{name}' is '{text}'.", name == "limit" ? "Give a whole number of at least 1." : "Give the nextCursor of the former page.");
    }
}
