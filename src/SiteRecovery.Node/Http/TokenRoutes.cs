using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Http;

public sealed record TokenBody(string Name, AccessRole Role);

/// <param name="Token">Shown this once; only its hash is kept.</param>
public sealed record TokenView(string Name, AccessRole Role, string? Token = null);

public static class TokenRoutes
{
    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/tokens", async (HttpContext context, ControlPlane control, CancellationToken cancel) => Page<TokenView>.Of(
            [.. (await control.GetConfigurationAsync(cancel)).Tokens.Select(t => new TokenView(t.Name, (AccessRole)((int)t.Role + 1)))], context))
            .Needs(AccessRole.Administrator).WithName("list-tokens");
        api.MapPost("/tokens", async (TokenBody body, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            if (!MachineId.IsValid(body.Name)) throw ProblemException.Invalid($"'{body.Name}' is no name.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
            if (!Enum.IsDefined(body.Role)) throw ProblemException.Invalid("role is missing.", "Give viewer, operator, recovery-admin or administrator.");
            var secret = TokenStore.NewSecret();
            await control.ConfigureAsync(new AddToken(context.CallerOf().Name, new AccessToken(body.Name, TokenStore.HashOf(secret), (TokenRole)((int)body.Role - 1))), cancel);
            return Results.Created($"/api/v1/tokens/{body.Name}", new TokenView(body.Name, body.Role, secret));
        }).Needs(AccessRole.Administrator).WithName("make-token");
        api.MapDelete("/tokens/{name}", async (string name, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            await control.ConfigureAsync(new RevokeToken(context.CallerOf().Name, name), cancel);
            return Results.NoContent();
        }).Needs(AccessRole.Administrator).WithName("revoke-token");
    }
}
