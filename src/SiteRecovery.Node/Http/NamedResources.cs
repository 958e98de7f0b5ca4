using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Domain.History;
using SiteRecovery.Node.Identity;

namespace SiteRecovery.Node.Http;

/// <summary>GET, PUT and DELETE of what operators configure by name, with ETags.</summary>
public static class NamedResources
{
    /// <param name="noun">In the singular.</param>
    /// <param name="problems">What is wrong with a body, and the remedy.</param>
    public static void Map<TBody>(RouteGroupBuilder api, string noun, string plural, Func<string, TBody, (string Problem, string Remedy)?> problems)
        where TBody : class
    {
        api.MapGet($"/{plural}", (HttpContext context, ConfigurationFile store) => Page<JsonNode>.Of(store.List(noun), context)).Needs(AccessRole.Viewer).WithName($"list-{plural}");
        api.MapGet($"/{plural}/{{name}}", (string name, HttpContext context, ConfigurationFile store) =>
        {
            var found = store.Find(noun, name) ?? throw ProblemException.NotFound(noun, name);
            context.Response.Headers.ETag = TagOf(found);
            return found;
        }).Needs(AccessRole.Viewer).WithName($"get-{noun}");
        api.MapPut($"/{plural}/{{name}}", (string name, TBody body, HttpContext context, ConfigurationFile store) =>
        {
            if (!MachineId.IsValid(name)) throw ProblemException.Invalid($"'{name}' is no name.", "Use 1 to 63 of a-z, 0-9, '-' and '.', starting with a letter or digit.");
            if (problems(name, body) is var (problem, remedy)) throw ProblemException.Invalid(problem, remedy);
            RequireMatch(context, store.Find(noun, name));
            var options = context.RequestServices.GetRequiredService<Microsoft.Extensions.Options.IOptions<Microsoft.AspNetCore.Http.Json.JsonOptions>>().Value.SerializerOptions;
            var node = JsonSerializer.SerializeToNode(body, options)!.AsObject();
            node.Insert(0, "name", name);
            store.Put(noun, name, node);
            context.Response.Headers.ETag = TagOf(node);
            return node;
        }).Needs(AccessRole.Administrator).WithName($"put-{noun}");
        api.MapDelete($"/{plural}/{{name}}", (string name, HttpContext context, ConfigurationFile store) =>
        {
            RequireMatch(context, store.Find(noun, name) ?? throw ProblemException.NotFound(noun, name));
            store.Remove(noun, name);
            return Results.NoContent();
        }).Needs(AccessRole.Administrator).WithName($"delete-{noun}");
    }

    private static void RequireMatch(HttpContext context, JsonNode? current)
    {
        var wanted = context.Request.Headers.IfMatch.ToString();
        if (wanted.Length == 0 || wanted == "*" || (current is not null && TagOf(current) == wanted)) return;
        throw new ProblemException(412, "changedMeanwhile", "The resource is not what If-Match names.", "GET it again, and repeat the change with its ETag.");
    }

    private static string TagOf(JsonNode node) => $"\"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(node.ToJsonString())))[..16]}\"";
}
