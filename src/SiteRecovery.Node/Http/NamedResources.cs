using System.Security.Cryptography;
using System.Text.Json;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Http;

/// <summary>A kind of thing that operators configure by name.</summary>
/// <param name="Noun">In the singular.</param>
/// <param name="All">Its bodies as they are shown, each with its name.</param>
/// <param name="Save">Caller, name and body to command; throws a <see cref="ProblemException"/> for a body that cannot be.</param>
public sealed record NamedKind<TBody>(
    string Noun, string Plural, Func<ConfigurationView, IEnumerable<KeyValuePair<string, TBody>>> All,
    Func<string, string, TBody, ConfigurationCommand> Save, Func<string, string, ConfigurationCommand> Remove) where TBody : class
{
    /// <summary>What must be done before a change of what exists: caller, name, and the body that it is to have; null: it is to be removed.</summary>
    public Func<ControlPlane, ConfigurationView, string, string, TBody?, CancellationToken, Task>? Before { get; init; }

    /// <summary>Who has to hear of what was saved.</summary>
    public Action<ControlPlane, ConfigurationView, string>? Saved { get; init; }

    /// <summary>In the names of operations.</summary>
    public string Id => Noun.Replace(' ', '-');
}

/// <summary>GET, PUT and DELETE of a <see cref="NamedKind{TBody}"/>, with ETags.</summary>
public static class NamedResources
{
    public static void Map<TBody>(RouteGroupBuilder api, NamedKind<TBody> kind) where TBody : class
    {
        api.MapGet($"/{kind.Plural}", async (HttpContext context, ControlPlane control, CancellationToken cancel) =>
            Page<TBody>.Of([.. kind.All(await control.GetConfigurationAsync(cancel)).Select(b => b.Value)], context)).Needs(AccessRole.Viewer).WithName($"list-{kind.Plural}");
        api.MapGet($"/{kind.Plural}/{{name}}", async (string name, HttpContext context, ControlPlane control, CancellationToken cancel) =>
            Show(context, Find(kind, name, await control.GetConfigurationAsync(cancel)) ?? throw ProblemException.NotFound(kind.Noun, name))).Needs(AccessRole.Viewer).WithName($"get-{kind.Id}");
        api.MapPut($"/{kind.Plural}/{{name}}", async (string name, TBody body, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            if (!MachineId.IsValid(name)) throw ProblemException.Invalid($"'{ProblemException.AsTyped(name)}' is no name.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
            var before = await control.GetConfigurationAsync(cancel);
            RequireMatch(context, Find(kind, name, before));
            var command = kind.Save(context.CallerOf().Name, name, body);
            if (kind.Before is { } prepare && Find(kind, name, before) is not null) await prepare(control, before, context.CallerOf().Name, name, body, cancel);
            await control.ConfigureAsync(command, cancel);
            var after = await control.GetConfigurationAsync(cancel);
            kind.Saved?.Invoke(control, after, name);
            return Show(context, Find(kind, name, after)!);
        }).Needs(AccessRole.Administrator).WithName($"put-{kind.Id}");
        api.MapDelete($"/{kind.Plural}/{{name}}", async (string name, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            var before = await control.GetConfigurationAsync(cancel);
            RequireMatch(context, Find(kind, name, before) ?? throw ProblemException.NotFound(kind.Noun, name));
            if (kind.Before is { } prepare) await prepare(control, before, context.CallerOf().Name, name, null, cancel);
            await control.ConfigureAsync(kind.Remove(context.CallerOf().Name, name), cancel);
            return Results.NoContent();
        }).Needs(AccessRole.Administrator).WithName($"delete-{kind.Id}");
    }

    private static TBody? Find<TBody>(NamedKind<TBody> kind, string name, ConfigurationView configuration) where TBody : class =>
        kind.All(configuration).FirstOrDefault(b => b.Key == name).Value;

    private static TBody Show<TBody>(HttpContext context, TBody body)
    {
        context.Response.Headers.ETag = TagOf(context, body);
        return body;
    }

    private static void RequireMatch<TBody>(HttpContext context, TBody? current)
    {
        var wanted = context.Request.Headers.IfMatch.ToString();
        if (wanted.Length == 0 || (current is not null && (wanted == "*" || TagOf(context, current) == wanted))) return;
        throw new ProblemException(412, "changedMeanwhile", "The resource is not what If-Match names.", "GET it again, and repeat the change with its ETag.");
    }

    private static string TagOf<TBody>(HttpContext context, TBody body)
    {
        var options = context.RequestServices.GetRequiredService<Microsoft.Extensions.Options.IOptions<Microsoft.AspNetCore.Http.Json.JsonOptions>>().Value.SerializerOptions;
        return $"\"{Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(body, options)))[..16]}\"";
    }
}
