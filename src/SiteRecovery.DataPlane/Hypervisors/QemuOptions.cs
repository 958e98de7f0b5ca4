namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>How <see cref="QemuHypervisor"/> runs its machines on this host.</summary>
public sealed record QemuOptions
{
    /// <summary>A name that is looked up in PATH, or a path.</summary>
    public string Program { get; init; } = "qemu-system-x86_64";
    /// <summary>In QEMU's order of preference. A host whose /dev/kvm opens and then does not run a guest needs "tcg".</summary>
    public string Accelerators { get; init; } = "kvm:tcg";
    /// <summary>Told what QEMU said of a machine that it started all the same: that it has fallen back to emulation, for one.</summary>
    public Action<string>? Says { get; init; }
    /// <summary>For how long a guest's requests wait for an export that went away, before they fail.</summary>
    public TimeSpan ReconnectDelay { get; init; } = TimeSpan.FromMinutes(1);
    /// <summary>Firmware of UEFI machines whose own is not on this host.</summary>
    public string UefiLoader { get; init; } = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    public string UefiSecureLoader { get; init; } = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
    public string UefiVariables { get; init; } = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    public string UefiSecureVariables { get; init; } = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";
}
