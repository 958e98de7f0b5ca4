using SiteRecovery.Domain.Results;

namespace SiteRecovery.Node.Http;

/// <summary>Routes that the contract names and this version does not have: whoever asks is told so, with another way, and not that he has misspelt it.</summary>
public static class NotYet
{
    public static void Map(RouteGroupBuilder api, string route, string what, string remedy) =>
        api.MapPost(route, IResult () => throw new ProblemException(501, RefusalCode.NotYetSupported, $"This version cannot {what} yet.", remedy)).Needs(AccessRole.Operator).ExcludeFromDescription();
}
