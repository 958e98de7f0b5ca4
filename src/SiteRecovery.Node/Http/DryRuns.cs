using Microsoft.OpenApi;

namespace SiteRecovery.Node.Http;

/// <summary>On an endpoint that ?dryRun=true tries out: it answers with what would happen, and changes nothing.</summary>
public sealed record KnowsDryRun
{
    public static KnowsDryRun Instance { get; } = new();
}

public static class DryRuns
{
    private const string Name = "dryRun";

    public static RouteHandlerBuilder WithDryRun(this RouteHandlerBuilder endpoint) => endpoint.WithMetadata(KnowsDryRun.Instance).AddOpenApiOperationTransformer((operation, _, _) =>
    {
        (operation.Parameters ??= []).Add(new OpenApiParameter
        {
            Name = Name, In = ParameterLocation.Query, Description = "True: answer with what would happen, and change nothing.",
            Schema = new OpenApiSchema { Type = JsonSchemaType.Boolean },
        });
        return Task.CompletedTask;
    });

    /// <summary>Whether the request is only to be tried out. Asked before the endpoint runs, so that no endpoint takes an order to try something out for the order itself.</summary>
    /// <exception cref="ProblemException">The value is neither true nor false, or the endpoint knows no dry run.</exception>
    public static bool IsDryRun(this HttpContext context)
    {
        var given = context.Request.Query[Name];
        if (given.Count == 0) return false;
        if (!bool.TryParse(given.ToString(), out var wanted)) throw ProblemException.Invalid($"dryRun is '{given}'.", "Give true or false.");
        if (wanted && context.GetEndpoint()?.Metadata.GetMetadata<KnowsDryRun>() is null)
            throw new ProblemException(400, "noDryRun", $"{context.Request.Method} {context.Request.Path} cannot be tried out; nothing was changed.", "Leave dryRun out to carry it out. The actions of a machine, POST /machines and DELETE /machines/{machine} have a dry run.");
        return wanted;
    }
}
