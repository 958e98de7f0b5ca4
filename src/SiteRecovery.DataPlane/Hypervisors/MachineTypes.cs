namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>A host rarely has exactly the QEMU that the machine came from.</summary>
internal static class MachineTypes
{
    /// <summary>The wanted type where the host offers it; else its family's newest, which QEMU names without a version; null where it has neither.</summary>
    internal static string? Nearest(string wanted, IReadOnlyCollection<string> offered)
    {
        if (offered.Contains(wanted)) return wanted;
        var family = wanted.Contains("q35", StringComparison.Ordinal) ? "q35"
            : wanted == "pc" || wanted.StartsWith("pc-", StringComparison.Ordinal) ? "pc"
            : wanted.Split('-')[0];
        return offered.Contains(family) ? family : null;
    }
}
