using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Node.Http;

/// <summary>The source of a protection, named as its hypervisor names it: disks and definition are what the agent says.</summary>
internal static class SourceDomain
{
    /// <returns>Null: the disks are named one by one.</returns>
    /// <exception cref="ProblemException">What the hypervisor tells is given besides.</exception>
    public static string? NamedIn(ProtectBody body)
    {
        if (body.Source?.Domain is not { } domain) return null;
        if (string.IsNullOrWhiteSpace(domain)) throw ProblemException.Invalid("source.domain is empty.", "Give the machine's name as GET /api/v1/agents/{agent}/machines lists it.");
        if (body.Source.Disks is { Count: > 0 } || body.Definition is not null)
            throw ProblemException.Invalid("source.domain is given together with disks or a definition.", "Leave disks and definition out: the hypervisor of the agent's host tells them; or leave source.domain out.");
        return domain;
    }

    /// <exception cref="ProblemException">There is no such machine, or a disk of it that is not excluded cannot be captured.</exception>
    public static async Task<(DiskBody[] Disks, MachineDefinition Definition)> FindAsync(
        AgentName agent, string domain, IReadOnlyList<string> excluded, ControlPlane control, CancellationToken cancel)
    {
        var machine = (await control.ListHostMachinesAsync(agent, domain, 0, 1, cancel)).Machines.FirstOrDefault() ?? throw new ProblemException(
            404, "unknownDomain", $"The hypervisor of agent '{agent}' has no machine '{domain}'.", $"List what it has with GET /api/v1/agents/{agent}/machines.");
        if (machine.Definition is not { } definition) throw new ProblemException(422, "domainTooLarge", $"Machine '{domain}' of agent '{agent}': {machine.Problem}.", "Name its disks in source.disks.");
        // A misspelt name would protect what was to be left out.
        if (excluded.FirstOrDefault(e => definition.Disks.All(d => d.Target != e)) is { } unknown)
            throw ProblemException.Invalid($"Machine '{domain}' has no disk '{unknown}' that could be excluded.", $"Its disks are {string.Join(", ", machine.Disks.Select(d => d.Target))}.");
        HostDisk[] chosen = [.. machine.Disks.Where(d => !excluded.Contains(d.Target))];
        if (chosen.Length == 0) throw new ProblemException(422, "noDisks", $"No disk of machine '{domain}' is left to protect.", "Exclude fewer disks, or name a machine that has one.");
        HostDisk[] refused = [.. chosen.Where(d => d.Problem is not null)];
        if (refused.Length == 0) return ([.. chosen.Select(d => new DiskBody(d.Target, d.Source!))], definition);
        throw new ProblemException(422, "disksNotCapturable", $"Machine '{domain}' cannot be protected as it is: {string.Join("; ", refused.Select(d => $"disk {d.Target}: {d.Problem}"))}.",
            string.Join(" ", refused.Select(d => $"{d.Target}: {d.Remedy}")))
        {
            More = { ["disks"] = refused },
        };
    }
}
