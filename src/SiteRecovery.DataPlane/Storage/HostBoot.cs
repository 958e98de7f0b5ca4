namespace SiteRecovery.DataPlane.Storage;

/// <summary>One life of the host: what a killed process wrote without a flush is still there in the same one.</summary>
public static class HostBoot
{
    /// <summary>The operating system's id of it; empty where there is none, which is like no other.</summary>
    public static Guid IdOf(IFileSystem files) => files.TryReadAll("/proc/sys/kernel/random/boot_id") is { } text && Guid.TryParse(text, null, out var id) ? id : Guid.Empty;
}
