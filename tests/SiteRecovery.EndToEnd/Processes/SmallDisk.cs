using SiteRecovery.EndToEnd.Guests;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>
/// A disk under a folder that can be made full, and be given room again: a file system in memory where mounting is allowed. Elsewhere the
/// process that writes to the folder is forbidden to make any file longer, which its writes fail by in the same way.
/// </summary>
internal sealed class SmallDisk : IAsyncDisposable
{
    private const long LeftBytes = 2 << 20;
    private readonly string _folder;
    private readonly bool _mounted;

    private SmallDisk(string folder, bool mounted) => (_folder, _mounted) = (folder, mounted);

    /// <summary>For whoever is to write to it: a file that may not become longer is an error and not the end of the process.</summary>
    internal static string[] Launcher { get; } = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

    private string Ballast => Path.Combine(_folder, "ballast");

    internal static async Task<SmallDisk> UnderAsync(string folder, int mebibytes)
    {
        Directory.CreateDirectory(folder);
        try
        {
            await HostProgram.RunAsync("mount", ["-t", "tmpfs", "-o", $"size={mebibytes}m", "tmpfs", folder]);
            return new SmallDisk(folder, true);
        }
        catch (InvalidOperationException)
        {
            return new SmallDisk(folder, false);
        }
    }

    internal async Task FillAsync(int writer)
    {
        if (_mounted) await FillRestAsync();
        else
        {
            var longest = new DirectoryInfo(_folder).EnumerateFiles("*.seg", SearchOption.AllDirectories).Max(f => f.Name == "0000000001.seg" ? 0 : f.Length);
            await HostProgram.RunAsync("prlimit", ["--pid", $"{writer}", $"--fsize={longest + LeftBytes}:unlimited"]);
        }
    }

    /// <summary>Others write meanwhile, so what is free changes under it.</summary>
    private async Task FillRestAsync()
    {
        await using var ballast = File.Create(Ballast);
        var piece = new byte[1 << 20];
        while (new DriveInfo(_folder).AvailableFreeSpace > LeftBytes)
        {
            await ballast.WriteAsync(piece);
            await ballast.FlushAsync();
        }
    }

    internal async Task MakeRoomAsync(int writer)
    {
        if (_mounted) File.Delete(Ballast);
        else await HostProgram.RunAsync("prlimit", ["--pid", $"{writer}", "--fsize=unlimited:unlimited"]);
    }

    public async ValueTask DisposeAsync()
    {
        if (_mounted) await HostProgram.RunAsync("umount", ["--lazy", _folder]); // whoever still writes to it is about to be killed
    }
}
