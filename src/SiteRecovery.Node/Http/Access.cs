using System.Globalization;
using System.Text.Json.Serialization;
using SiteRecovery.Actors.Configuration;

namespace SiteRecovery.Node.Http;

/// <summary>Each role may do all that the ones before it may.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<AccessRole>))]
public enum AccessRole
{
    [JsonStringEnumMemberName("viewer")] Viewer = 1,
    [JsonStringEnumMemberName("operator")] Operator = 2,
    [JsonStringEnumMemberName("recovery-admin")] RecoveryAdmin = 3,
    [JsonStringEnumMemberName("administrator")] Administrator = 4,
}

/// <param name="Name">What the audit log calls the caller.</param>
public sealed record Caller(string Name, AccessRole Role);

/// <summary>What an endpoint asks of its caller; null: nothing.</summary>
public sealed record AccessNeeded(AccessRole? Role);

public static class Access
{
    /// <summary>In the audit log: the request ended before anybody knew what came of it.</summary>
    public const string OutcomeUnknown = "unknown";

    public static TBuilder Needs<TBuilder>(this TBuilder endpoint, AccessRole role) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new AccessNeeded(role));

    public static TBuilder NeedsNoToken<TBuilder>(this TBuilder endpoint) where TBuilder : IEndpointConventionBuilder =>
        endpoint.WithMetadata(new AccessNeeded(null));

    public static Caller CallerOf(this HttpContext context) => (Caller)context.Items[typeof(Caller)]!;

    /// <summary>Below /api/v1 a token is needed even to learn that a route does not exist.</summary>
    public static void UseAccess(this WebApplication app) => app.Use(async (context, next) =>
    {
        var needed = context.GetEndpoint()?.Metadata.GetMetadata<AccessNeeded>();
        if (needed is { Role: null } || (needed is null && !context.Request.Path.StartsWithSegments("/api")))
        {
            if (Mutates(context)) _ = context.IsDryRun();
            await next(context);
            return;
        }
        var caller = await FindAsync(context) ?? throw new ProblemException(
            401, "notAuthenticated", "The request bears no valid token.", "Send 'Authorization: Bearer TOKEN'; the first administrator's token lies in admin.token in the first node's data directory.");
        context.Items[typeof(Caller)] = caller;
        if (!Mutates(context))
        {
            Require(needed?.Role ?? AccessRole.Viewer, caller);
            await next(context);
            return;
        }
        await AuditedAsync(context, caller, () =>
        {
            Require(needed?.Role ?? AccessRole.Viewer, caller);
            return context.IsDryRun();
        }, next);
    });

    private static void Require(AccessRole role, Caller caller)
    {
        if (caller.Role < role)
            throw new ProblemException(403, "forbidden", $"'{caller.Name}' is {NameOf(caller.Role)}; this needs {NameOf(role)}.", $"Use a token of the role {NameOf(role)}.");
    }

    /// <summary>What was asked for is noted, however it ends: a caller that is gone, or an answer that is late, does not undo it.</summary>
    /// <param name="triesOut">Whether nothing is to be changed; throws where the request is refused.</param>
    private static async Task AuditedAsync(HttpContext context, Caller caller, Func<bool> triesOut, RequestDelegate next)
    {
        var (outcome, changesNothing) = (OutcomeUnknown, false);
        try
        {
            changesNothing = triesOut();
            await next(context);
            outcome = context.Response.StatusCode.ToString(CultureInfo.InvariantCulture);
        }
        catch (Exception refused) when (StatusOf(refused) is { } status)
        {
            outcome = status.ToString(CultureInfo.InvariantCulture);
            throw;
        }
        finally
        {
            if (!changesNothing) await AuditAsync(context, caller, outcome);
        }
    }

    private static int? StatusOf(Exception error) => error switch
    {
        ProblemException problem => problem.Status,
        BadHttpRequestException bad => bad.StatusCode,
        _ => null,
    };

    private static bool Mutates(HttpContext context) => !HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method);

    private static async Task AuditAsync(HttpContext context, Caller caller, string outcome)
    {
        var note = new RecordAudit(caller.Name, $"{context.Request.Method} {context.Request.Path}", context.Connection.RemoteIpAddress?.ToString() ?? "", outcome);
        // The action is done or refused already, and says so; that the note is late is the log's affair. It does not end with the request.
        try
        {
            await context.RequestServices.GetRequiredService<ControlPlane>().ConfigureAsync(note, CancellationToken.None);
        }
        catch (Exception unreachable)
        {
            context.RequestServices.GetRequiredService<ILogger<ControlPlane>>().LogWarning("not in the audit log: {Action} by {Caller}: {Outcome}: {Reason}", note.Action, note.By, outcome, unreachable.Message);
        }
    }

    private static async ValueTask<Caller?> FindAsync(HttpContext context)
    {
        const string scheme = "Bearer ";
        var header = context.Request.Headers.Authorization.ToString();
        if (!header.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)) return null;
        return await context.RequestServices.GetRequiredService<TokenStore>().FindAsync(header[scheme.Length..].Trim(), context.RequestAborted);
    }

    private static string NameOf(AccessRole role) => role switch
    {
        AccessRole.Operator => "operator",
        AccessRole.RecoveryAdmin => "recovery-admin",
        AccessRole.Administrator => "administrator",
        _ => "viewer",
    };
}
