namespace SiteRecovery.Benchmarks;

/// <summary>restic: a backup of the raw disk for each point.</summary>
internal sealed class Restic(Bench bench, string disk) : IPointKeeper
{
    private readonly string _repository = bench.At("restic"), _live = bench.At("restic-live"), _password = bench.At("restic-password");

    public string Name => "restic";
    public long SpaceBytes => Files.AllocatedBytes(_repository);

    public async Task BeginAsync(CancellationToken stop)
    {
        File.Copy(disk, _live);
        await File.WriteAllTextAsync(_password, "benchmark", stop);
        await RunAsync(["init"], stop);
        await RunAsync(["backup", "--tag", "first", _live], stop);
    }

    public Task OpenAsync(CancellationToken stop) => Task.CompletedTask;

    public Task WriteAsync(List<KeepingPoints.Change> changes, CancellationToken stop)
    {
        KeepingPoints.Apply(_live, changes);
        return Task.CompletedTask;
    }

    public Task CloseAsync(CancellationToken stop) => Task.CompletedTask;

    public Task KeepAsync(int point, CancellationToken stop) => RunAsync(["backup", "--tag", $"p{point}", _live], stop);

    public void ForgetPages() => PageCache.Forget(_repository);

    public async Task RestoreAsync(int point, string file, CancellationToken stop)
    {
        var folder = file + ".restic";
        await RunAsync(["restore", "latest", "--tag", $"p{point}", "--target", folder], stop);
        File.Move(folder + _live, file);
        Directory.Delete(folder, recursive: true);
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_repository, recursive: true);
        File.Delete(_live);
        return default;
    }

    private Task<string> RunAsync(string[] arguments, CancellationToken stop) =>
        Tool.RunAsync("restic", ["--quiet", "--repo", _repository, "--password-file", _password, "--cache-dir", bench.At("restic-cache"), .. arguments], stop);
}
