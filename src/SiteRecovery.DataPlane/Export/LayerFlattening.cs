using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Export;

/// <summary>Turns a replica's layers into raw files of their own while the machine runs on them, slowly enough for it not to notice.</summary>
/// <param name="folder">Where they lie.</param>
public sealed class LayerFlattening(ReplicaLayers layers, string folder, IFileSystem files, TimeProvider time)
{
    /// <summary>An hour for 225 GiB. No more than so much is unflushed at a time: a guest's flush waits for it too.</summary>
    private const int BytesPerSecondMax = 64 << 20, UnflushedBytesMax = 16 << 20;
    /// <summary>The machine's own writes need room more than this does.</summary>
    public const long RoomKeptBytes = 1L << 30;
    private long _startedAt, _flatWhenStarted;

    public long BytesTotal { get; } = layers.Disks.Sum(d => d.Disk.SizeBytes);
    public long BytesDone => layers.Disks.Sum(d => d.File.FlatBytes);

    /// <summary>Since it was started; what the guest wrote counts too.</summary>
    public long BytesPerSecond => _startedAt == 0 ? 0 : (long)((BytesDone - _flatWhenStarted) / Math.Max(0.001, time.GetElapsedTime(_startedAt).TotalSeconds));

    /// <summary>Returns when every layer is a raw file, and that is durable. Begun again it goes on where it was.</summary>
    /// <exception cref="IOException">A disk cannot be read below or written above, or there is too little room.</exception>
    public async Task RunAsync(CancellationToken stop)
    {
        (_startedAt, _flatWhenStarted) = (time.GetTimestamp(), BytesDone);
        foreach (var (_, file) in layers.Disks)
        {
            for (var (next, unflushed, since) = (0L, 0, time.GetTimestamp()); file.FlattenFrom(next) is { } piece; next = piece.Next)
            {
                stop.ThrowIfCancellationRequested();
                unflushed += piece.Copied;
                if (unflushed < UnflushedBytesMax) continue;
                file.Flush();
                if (files.FreeBytes(folder) is var free && free < RoomKeptBytes) throw new IOException($"flattening waits for room at {folder}: {free >> 20} MiB are free, and {RoomKeptBytes >> 20} MiB are kept for the machine's own writes");
                var due = TimeSpan.FromSeconds((double)unflushed / BytesPerSecondMax) - time.GetElapsedTime(since);
                if (due > TimeSpan.Zero) await Task.Delay(due, time, stop).ConfigureAwait(false);
                (unflushed, since) = (0, time.GetTimestamp());
            }
            file.Flush();
        }
    }
}
