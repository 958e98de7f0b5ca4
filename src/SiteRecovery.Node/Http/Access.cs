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
        var role = needed?.Role ?? AccessRole.Viewer;
        if (caller.Role < role)
            throw new ProblemException(403, "forbidden", $"'{caller.Name}' is {NameOf(caller.Role)}; this needs {NameOf(role)}.", $"Use a token of the role {NameOf(role)}.");
        context.Items[typeof(Caller)] = caller;
        var audited = Mutates(context);
        try
        {
            if (audited && context.IsDryRun()) audited = false;
            await next(context);
        }
        catch (ProblemException refused) when (audited)
        {
            await AuditAsync(context, caller, refused.Status);
            throw;
        }
        if (audited) await AuditAsync(context, caller, context.Response.StatusCode);
    });

    private static bool Mutates(HttpContext context) => !HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method);

    private static async Task AuditAsync(HttpContext context, Caller caller, int status)
    {
        var note = new RecordAudit(caller.Name, $"{context.Request.Method} {context.Request.Path}", context.Connection.RemoteIpAddress?.ToString() ?? "", status.ToString(CultureInfo.InvariantCulture));
        // The action is done or refused already, and says so; that the note is late is the log's affair.
        try
        {
            await context.RequestServices.GetRequiredService<ControlPlane>().ConfigureAsync(note, CancellationToken.None);
        }
        catch (Exception unreachable) when (unreachable is Akka.Actor.AskTimeoutException or TaskCanceledException)
        {
            context.RequestServices.GetRequiredService<ILogger<ControlPlane>>().LogWarning("not in the audit log: {Action} by {Caller}: {Status}", note.Action, note.By, status);
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
