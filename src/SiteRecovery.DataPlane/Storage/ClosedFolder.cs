namespace SiteRecovery.DataPlane.Storage;

/// <summary>Closes to others what an earlier version has left open to them in a data folder. The folder itself, and what in it is meant for others, stays as it is.</summary>
public static class ClosedFolder
{
    private const UnixFileMode Others = UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;
    private const UnixFileMode Open = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    /// <summary>Only what everybody may read or write is touched: a group that was let in, or a way through, was meant.</summary>
    /// <param name="inner">Names of what holds data, relative to the folder; what is not there, or is a link, is passed over.</param>
    /// <param name="say">Takes a line: what was closed, or why it stays open.</param>
    public static void Close(string folder, Action<string> say, params IReadOnlyList<string> inner)
    {
        if (OperatingSystem.IsWindows()) return;
        var closed = new List<string>();
        try
        {
            if (!File.GetUnixFileMode(folder).HasFlag(UnixFileMode.OtherExecute)) return;
            foreach (var name in inner)
            {
                var path = Path.Combine(folder, name);
                FileSystemInfo entry = Directory.Exists(path) ? new DirectoryInfo(path) : new FileInfo(path);
                if (!entry.Exists || entry.LinkTarget is not null || (entry.UnixFileMode & Open) == 0) continue;
                entry.UnixFileMode &= ~Others;
                closed.Add(name);
            }
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            say($"{folder} can be read by every user of this host, and cannot be closed to them: {refused.Message}");
        }
        if (closed.Count > 0) say($"every user of this host could read {string.Join(", ", closed)} in {folder}; from now on they cannot");
    }
}
