using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.Networks;

namespace SiteRecovery.Node.Http;

/// <summary>What is left out is empty: no network is joined, and no address changes.</summary>
public sealed record NetworkMappingBody(string? Name, string Vault, IReadOnlyList<NetworkPair>? Networks = null, IReadOnlyList<SubnetRule>? Subnets = null, IReadOnlyList<NicRule>? Nics = null)
{
    public static NetworkMappingBody Of(NetworkMapping mapping) => new(mapping.Name, mapping.Vault, mapping.Networks, mapping.Subnets, mapping.Nics);

    public NetworkMapping ToMapping(string name) => new(name, Vault ?? throw ProblemException.Invalid("A network mapping needs a vault.", "Name the vault whose machines it is for."),
        [.. Networks ?? []], [.. Subnets ?? []], [.. Nics ?? []]);
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
