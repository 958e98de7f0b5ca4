using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Capture;

/// <summary>
/// The root hash of disks that are written to meanwhile: what was written after it was hashed is hashed again, so that a machine stands still only for the last of it.
/// </summary>
internal sealed class RunningHash : IDisposable
{
    private const string FileName = "leaves";
    /// <summary>More are not worth it for a machine that writes faster than it is hashed.</summary>
    private const int PassesMax = 4;
    private const long FewBlocks = (256L << 20) / RootHash.BlockBytes;
    private readonly IReadOnlyList<(SplitDisk Disk, BlockBits Stale)> _disks;
    private readonly LeafFile _leaves;
    private readonly IFileSystem _files;
    private readonly string _path;

    internal RunningHash(IEnumerable<SplitDisk> disks, string folder, IFileSystem files)
    {
        _disks = [.. disks.OrderBy(d => d.Geometry.Index).Select(d => (d, new BlockBits(null, 0, RootHash.BlocksOf(d.SizeBytes))))];
        (_files, _path) = (files, Path.Combine(folder, FileName));
        foreach (var (_, stale) in _disks) stale.SetAll();
        _leaves = new LeafFile(files.Open(_path, FileOpening.Create), _disks.Select(d => (d.Disk.Geometry.Index, d.Disk.SizeBytes))) { IsBeingMade = true };
    }

    /// <summary>Something landed there, or may have.</summary>
    internal void Touch(SplitDisk disk, long offset, long length)
    {
        foreach (var (own, stale) in _disks)
            if (own == disk) stale.Set(offset / RootHash.BlockBytes, (offset + length - 1) / RootHash.BlockBytes);
    }

    /// <summary>Until little is left to be hashed, or the machine is faster.</summary>
    internal void CatchUp(CancellationToken stop)
    {
        for (var pass = 0; pass < PassesMax && (pass == 0 || _disks.Sum(d => d.Stale.Count) > FewBlocks); pass++) Pass(stop);
    }

    /// <summary>Nobody may write any more.</summary>
    internal string Finish(CancellationToken stop)
    {
        Pass(stop);
        return _leaves.Root();
    }

    public void Dispose()
    {
        _leaves.Dispose();
        try
        {
            _files.Delete(_path);
        }
        catch (Exception undeleted) when (undeleted is IOException or UnauthorizedAccessException)
        {
            // The next one makes every leaf of it anew; and no drain ends for it.
        }
    }

    private void Pass(CancellationToken stop)
    {
        var buffer = new byte[RootHash.BlockBytes];
        foreach (var (disk, stale) in _disks)
        {
            var hole = 0L;
            for (var block = stale.Next(0); block >= 0; block = stale.Next(block + 1))
            {
                stop.ThrowIfCancellationRequested();
                // Before it is read: a write that lands meanwhile, or after this, is seen by the next pass.
                stale.Clear(block, block);
                var offset = block * RootHash.BlockBytes;
                var read = buffer.AsSpan(0, (int)Math.Min(buffer.Length, disk.SizeBytes - offset));
                if (offset + read.Length > hole) hole = disk.File.RunAt(offset) is { Hole: true } run ? offset + run.Length : 0;
                if (offset + read.Length <= hole) read.Clear();
                else disk.File.Read(offset, read);
                _leaves.Set(disk.Geometry.Index, block, RootHash.LeafOf(read));
            }
        }
        _leaves.IsBeingMade = false; // from here on a page that is damaged is one that was made
    }
}
