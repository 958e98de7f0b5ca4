using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.DataPlane.Tests.Export;

/// <summary>A layer that has to be written anew takes long to open: nobody else waits for it.</summary>
public sealed class ReplicaExportsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("exports").FullName;

    [Fact]
    public async Task A_replica_that_takes_long_to_open_holds_up_no_other_one()
    {
        var opening = new TaskCompletionSource<IReplicaDisks>();
        await using var exports = new ReplicaExports(Path.Combine(_folder, "s"), TimeProvider.System);
        var slow = exports.ServeAsync("vm1", "key", () => opening.Task, default);
        await exports.ServeAsync("vm2", "key", () => Task.FromResult<IReplicaDisks>(new NoDisks()), default).WaitAsync(TimeSpan.FromSeconds(20));
        await exports.StopAsync("vm2", default);
        Assert.Equal((null, null), (exports.Find("vm1"), exports.Find("vm2")));

        // Its own name's turn is taken: it is not withdrawn before it is served, nor opened twice.
        var (withdrawn, disks) = (exports.StopAsync("vm1", default), new NoDisks());
        Assert.False(withdrawn.IsCompleted);
        opening.SetResult(disks);
        await slow;
        await withdrawn;
        Assert.True(disks.IsDisposed);
        Assert.Null(exports.Find("vm1"));
    }

    [Fact]
    public async Task A_replica_that_is_opened_while_its_host_ends_is_let_go_of()
    {
        var (opening, disks) = (new TaskCompletionSource<IReplicaDisks>(), new NoDisks());
        var exports = new ReplicaExports(Path.Combine(_folder, "s"), TimeProvider.System);
        var served = exports.ServeAsync("vm1", "key", () => opening.Task, default);
        var ended = exports.DisposeAsync().AsTask();
        Assert.False(ended.IsCompleted);
        opening.SetResult(disks);
        await ended;
        await Assert.ThrowsAsync<ObjectDisposedException>(() => served);
        Assert.True(disks.IsDisposed);
    }

    [Fact]
    public async Task A_replica_that_cannot_be_flushed_at_the_end_keeps_no_other_one_from_it()
    {
        var (broken, disks) = (new NoDisks { Breaks = true }, new NoDisks());
        var exports = new ReplicaExports(Path.Combine(_folder, "s"), TimeProvider.System);
        await exports.ServeAsync("vm1", "key", () => Task.FromResult<IReplicaDisks>(broken), default);
        await exports.ServeAsync("vm2", "key", () => Task.FromResult<IReplicaDisks>(disks), default);
        await Assert.ThrowsAsync<IOException>(async () => await exports.DisposeAsync());
        Assert.True(disks.IsDisposed);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private sealed class NoDisks : IReplicaDisks
    {
        public bool Breaks { get; init; }
        public bool IsDisposed { get; private set; }
        public IReadOnlyList<(DiskRecord Disk, IBlockDevice Device)> Disks => [];

        public ValueTask DisposeAsync()
        {
            IsDisposed = true;
            return Breaks ? throw new IOException("no room") : default(ValueTask);
        }
    }
}
