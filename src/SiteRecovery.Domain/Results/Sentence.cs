namespace SiteRecovery.Domain.Results;

/// <summary>What others say of a failure need be no sentence, and something is said right behind it.</summary>
public static class Sentence
{
    /// <summary>The text with an end.</summary>
    public static string Of(string text) => text.TrimEnd() is var said && said is [] or [.., '.' or '!' or '?'] ? said : said + ".";
}
