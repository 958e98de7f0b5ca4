using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>The guest's disks as the host sees them, with programs that know nothing of SiteRecovery.</summary>
internal static class GuestDisk
{
    /// <summary>A raw disk with an empty ext4.</summary>
    internal static async Task CreateAsync(string path, long bytes)
    {
        using (var file = RealFileSystem.Instance.Open(path, FileOpening.Create)) file.SetLength(bytes);
        await HostProgram.RunAsync("mke2fs", ["-q", "-t", "ext4", path]);
    }

    /// <summary>Copies an export away, replays its journal, has the file system checked, and reads the records.</summary>
    /// <param name="folder">Where the copy is made and left.</param>
    /// <exception cref="InvalidOperationException">The file system is not clean after the replay of its journal.</exception>
    internal static async Task<GuestRecords> CheckAsync(string uri, string folder, string name)
    {
        var copy = Path.Combine(folder, name + ".copy");
        var records = Path.Combine(folder, name + ".records");
        await HostProgram.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", "raw", uri, copy]);
        await HostProgram.RunAsync("e2fsck", ["-y", "-E", "journal_only", copy], allowedCodes: [0, 1]);
        await HostProgram.RunAsync("e2fsck", ["-f", "-n", copy]);
        File.Delete(records);
        await HostProgram.RunAsync("debugfs", ["-R", $"dump /records {records}", copy]);
        return File.Exists(records) ? GuestRecords.Parse(await File.ReadAllBytesAsync(records)) : new GuestRecords(0, null);
    }
}
