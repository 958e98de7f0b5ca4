namespace SiteRecovery.Benchmarks;

/// <summary>Somebody who keeps states of a disk. Each point: open, write, close, keep; only writing and keeping are timed.</summary>
internal interface IPointKeeper : IAsyncDisposable
{
    string Name { get; }

    /// <summary>Allocated on disk, the first full copy with it.</summary>
    long SpaceBytes { get; }

    /// <summary>Takes the disk as it is.</summary>
    Task BeginAsync(CancellationToken stop);

    Task OpenAsync(CancellationToken stop);

    /// <summary>Durable when it returns.</summary>
    Task WriteAsync(List<KeepingPoints.Change> changes, CancellationToken stop);

    Task CloseAsync(CancellationToken stop);

    /// <summary>Durable when it returns.</summary>
    Task KeepAsync(int point, CancellationToken stop);

    /// <summary>The next restore comes from the disk.</summary>
    void ForgetPages();

    Task RestoreAsync(int point, string file, CancellationToken stop);
}
