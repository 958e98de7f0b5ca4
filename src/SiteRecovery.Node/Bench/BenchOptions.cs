namespace SiteRecovery.Node.Bench;

/// <param name="Folder">Where the disks and stores lie.</param>
/// <param name="DiskBytes">Size of the disk that is replicated.</param>
/// <param name="Rounds">How often each contestant runs.</param>
/// <param name="RunTime">How long each run of a write load lasts.</param>
public sealed record BenchOptions(string Folder, long DiskBytes, int Rounds, TimeSpan RunTime);
