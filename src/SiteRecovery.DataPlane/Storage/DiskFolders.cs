namespace SiteRecovery.DataPlane.Storage;

/// <summary>The folders that disks may lie in, whatever somebody far away names. Links count for where they lead.</summary>
public sealed class DiskFolders
{
    private const string Devices = "/dev";
    private readonly string[] _folders;

    /// <param name="folders">Full paths. They need not be there yet: storage may come up later.</param>
    public DiskFolders(IEnumerable<string> folders) => _folders = [.. folders.Select(f => Path.TrimEndingDirectorySeparator(Path.GetFullPath(f)))];

    public bool Hold(string path) => Path.IsPathFullyQualified(path) && Path.GetFullPath(path) == path && Real(path) is { } real && _folders.Any(f => Holds(f, path, real));

    /// <summary>The folders, for whoever is told that a disk lies in none of them.</summary>
    public override string ToString() => string.Join(", ", _folders);

    // Names of devices are links that nobody but root makes: /dev/vg0/db1 leads to /dev/dm-3.
    private static bool Holds(string folder, string path, string real) =>
        IsBelow(Real(folder) ?? folder, real) || (IsBelow(Devices, folder) && IsBelow(folder, path) && IsBelow(Devices, real));

    private static string? Real(string path)
    {
        try
        {
            return Posix.Resolved(path);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static bool IsBelow(string folder, string path) => path.StartsWith(folder == "/" ? folder : folder + '/', StringComparison.Ordinal) && path.Length > folder.Length + 1;
}
