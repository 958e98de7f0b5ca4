namespace SiteRecovery.DataPlane.Storage;

/// <summary>A folder that others pass through to what is theirs to reach in it, such as a socket, while all else in it stays its owner's.</summary>
public static class PassableFolder
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Pass = UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>What lies in it and is not among <paramref name="reached"/> is closed to others first: a folder that nobody could pass before may hold what anybody may read. Folders that are reached are passable too.</summary>
    /// <exception cref="IOException">The mode of something cannot be changed.</exception>
    /// <exception cref="UnauthorizedAccessException">As before: it is another user's.</exception>
    public static void Open(string folder, params IReadOnlyCollection<string> reached)
    {
        if (OperatingSystem.IsWindows()) return;
        foreach (var entry in new DirectoryInfo(folder).EnumerateFileSystemInfos().Where(e => e.LinkTarget is null))
        {
            if (!reached.Contains(entry.Name)) Change(entry, entry.UnixFileMode & Owner);
            else if (entry is DirectoryInfo) Change(entry, Owner | Pass);
        }
        Change(new DirectoryInfo(folder), Owner | Pass);

        // What is another user's, such as "lost+found", may be as it should be already.
        static void Change(FileSystemInfo entry, UnixFileMode mode)
        {
            if (entry.UnixFileMode != mode) entry.UnixFileMode = mode;
        }
    }

    /// <summary>As <see cref="Open"/>; what is in the way of it is said, and keeps nobody from being served who needs no way.</summary>
    public static void TryOpen(string folder, Action<string> say, params IReadOnlyCollection<string> reached)
    {
        try
        {
            Open(folder, reached);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            say($"the folder {folder} is not opened to the group that is to reach the disks in it: {refused.Message}");
        }
    }
}
