using System.Globalization;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <param name="NextCursor">Null on the last page.</param>
public sealed record Page<T>(IReadOnlyList<T> Items, string? NextCursor)
{
    public static Page<T> Of(IReadOnlyList<T> all, HttpContext context)
    {
        var (limit, from) = Page.Of(context);
        var items = all.Skip(from).Take(limit).ToArray();
        return new Page<T>(items, from + items.Length < all.Count ? (from + items.Length).ToString(CultureInfo.InvariantCulture) : null);
    }
}

public static class Page
{
    /// <summary>The query's ?limit= and ?cursor=, checked.</summary>
    public static (int Limit, int From) Of(HttpContext context)
    {
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
