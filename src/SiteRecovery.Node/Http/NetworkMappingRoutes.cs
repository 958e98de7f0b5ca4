using System.Collections.Immutable;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.Node.Http;

/// <summary>What is left out is empty: no network is joined, and no address changes.</summary>
public sealed record NetworkMappingBody(string? Name, string Vault, IReadOnlyList<NetworkPair>? Networks = null, IReadOnlyList<SubnetRule>? Subnets = null, IReadOnlyList<NicRule>? Nics = null)
{
    public static NetworkMappingBody Of(NetworkMapping mapping) => new(mapping.Name, mapping.Vault, mapping.Networks, mapping.Subnets, mapping.Nics);

    public NetworkMapping ToMapping(string name) => new(name, Vault ?? throw ProblemException.Invalid("A network mapping needs a vault.", "Name the vault whose machines it is for."),
        Without(Networks, "networks"), Without(Subnets, "subnets"), Without(Nics, "nics"));

    /// <summary>JSON may hold a null where a rule belongs.</summary>
    private static ImmutableArray<T> Without<T>(IReadOnlyList<T>? items, string where) where T : class =>
        items?.Any(i => i is null) == true ? throw ProblemException.Invalid($"{where} holds null.", "Leave it out.") : [.. items ?? []];
}

public static class NetworkMappingRoutes
{
    public static void Map(RouteGroupBuilder api) => NamedResources.Map(api, new NamedKind<NetworkMappingBody>(
        "network mapping", "network-mappings",
        view => view.NetworkMappings.Select(m => KeyValuePair.Create(m.Name, NetworkMappingBody.Of(m))),
        (by, name, body) => new SaveNetworkMapping(by, body.ToMapping(name)),
        (by, name) => new RemoveNetworkMapping(by, name))
    {
        Before = (control, configuration, by, name, body, cancel) => body is not null ? Task.CompletedTask
            : control.FreeNamesAsync(by, configuration.Machines.Where(m => configuration.NetworkMappings.Any(n => n.Name == name && n.Vault == m.Vault)), cancel),
    });
}
