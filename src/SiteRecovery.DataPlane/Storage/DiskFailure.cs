namespace SiteRecovery.DataPlane.Storage;

/// <summary>What a failed read says of its disk.</summary>
public static class DiskFailure
{
    private const int ErrIo = 5; // of the kernel, which .NET hands on

    /// <summary>A disk that cannot be read may be back in a moment; what it does not give for longer is lost.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromSeconds(15);

    /// <summary>It was read, and is not what was written: reading it again does not help.</summary>
    public static bool IsDamage(Exception failure) => failure is IOException { InnerException: InvalidDataException };

    /// <summary>A bad sector, or a disk that is away.</summary>
    public static bool IsUnreadable(Exception failure) => failure is IOException { HResult: ErrIo };
}
