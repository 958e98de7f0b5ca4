using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http.HttpResults;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.Results;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <summary>An answer of the API that is not a success: RFC 9457 with a stable code and what to do about it.</summary>
public sealed class ProblemException(int status, string code, string detail, string remedy) : Exception(detail)
{
    public int Status { get; } = status;
    public string Code { get; } = code;
    public string Remedy { get; } = remedy;
    public IDictionary<string, object?> More { get; } = new Dictionary<string, object?>();

    public static ProblemException NotFound(string noun, string name) =>
        new(404, "notFound", $"There is no {noun} '{AsTyped(name)}'.", $"List what exists with GET /api/v1/{Plural(noun)}.");

    /// <summary>A name from a path: a slash in it stays escaped on its way here.</summary>
    public static string AsTyped(string name) => name.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);

    public static ProblemException Invalid(string detail, string remedy) => new(400, "invalid", detail, remedy);

    public static ProblemException Of(ConfigurationRefused refused) => new(
        refused.Code switch { "notFound" => 404, "inUse" or "nameTaken" or "joinTokenForAnother" => 409, "joinTokenInvalid" => 401, _ => 400 }, refused.Code, refused.Reason, refused.Remedy);

    public static ProblemException Of(Refused refused)
    {
        var status = refused.Code switch
        {
            RefusalCode.NotAllowedInState => 409,
            RefusalCode.NotYetSupported => 501,
            RefusalCode.CommandIdReused => 422,
            _ => 400,
        };
        return new ProblemException(status, refused.Code, refused.Reason, refused.Remedy)
        {
            More = { ["state"] = refused.State, ["allowedActions"] = refused.AllowedActions },
        };
    }

    private static string Plural(string noun) => noun.EndsWith('y') ? noun[..^1] + "ies" : noun.Replace(' ', '-') + "s";
}

/// <summary>Turns every failure, also the framework's own, into the one form.</summary>
public static class Problems
{
    public static void UseProblems(this WebApplication app)
    {
        app.UseExceptionHandler(handler => handler.Run(context =>
            WriteAsync(context, Explain(context, context.Features.Get<IExceptionHandlerFeature>()?.Error, app.Logger))));
        app.UseStatusCodePages(pages => WriteAsync(pages.HttpContext, Explain(pages.HttpContext)));
    }

    public static ProblemHttpResult Result(ProblemException problem) => TypedResults.Problem(
        problem.Message, statusCode: problem.Status, title: Title(problem.Status), type: $"urn:siterecovery:problem:{problem.Code}",
        extensions: new Dictionary<string, object?>(problem.More) { ["code"] = problem.Code, ["remedy"] = problem.Remedy });

    private static Task WriteAsync(HttpContext context, ProblemException problem) => Result(problem).ExecuteAsync(context);

    private static ProblemException Explain(HttpContext context, Exception? error, ILogger log)
    {
        switch (error)
        {
            case ProblemException problem: return problem;
            case BadHttpRequestException { StatusCode: 413 }: return TooLarge(context);
            case BadHttpRequestException bad:
                return new ProblemException(bad.StatusCode, "invalid", BadRequests.Explain(bad), "Correct the request; /openapi/v1.json describes every body.");
            case JsonException json:
                return ProblemException.Invalid(BadRequests.Explain(json), "Send JSON as /openapi/v1.json describes it.");
            case TimeoutException or Akka.Actor.AskTimeoutException:
                return new ProblemException(503, "noAnswer", "The cluster did not answer in time.", "Look at GET /api/v1/nodes for unreachable nodes, and try again.");
            default:
                log.LogError(error, "a request failed");
                return new ProblemException(500, "internal", "The node failed to carry out the request.", "Look into the node's log, and report it.");
        }
    }

    private static ProblemException Explain(HttpContext context) => context.Response.StatusCode switch
    {
        404 => new(404, "unknownRoute", $"There is nothing at {context.Request.Path}.", "The routes are listed in /openapi/v1.json."),
        405 => new(405, "methodNotAllowed", $"{context.Request.Method} is not possible at {context.Request.Path}.", "The methods are listed in /openapi/v1.json."),
        413 => TooLarge(context),
        415 => new(415, "unsupportedMediaType", "The body is not JSON.", "Send it with Content-Type: application/json."),
        var status => new(status, "refused", $"The request was refused with status {status}.", "Compare it with /openapi/v1.json."),
    };

    private static ProblemException TooLarge(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<Microsoft.AspNetCore.Http.Metadata.IRequestSizeLimitMetadata>()?.MaxRequestBodySize is { } own
        ? new(413, "bodyTooLarge", $"The body is larger than the {own} bytes that a request without a token may have.", "Send a smaller body.")
        : new(413, "bodyTooLarge", $"The body is larger than {context.RequestServices.GetRequiredService<NodeSettings>().BodyBytesMax} bytes.", "Send a smaller body, or raise siterecovery.http.body-bytes-max of the node.");

    private static string Title(int status) => Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status);
}
