using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Node.Bench;

/// <summary>CPU seconds per GiB of each stage on the way of a byte, each run alone in this process.</summary>
public sealed class StagesBench(BenchOptions options, Measurements results)
{
    private const int BatchBytes = 1 << 20, Batches = 512;
    private static readonly MachineId Machine = new("bench");
    private static readonly DiskGeometry Geometry = new(0, "disk", (long)BatchBytes * Batches);

    /// <param name="Run">Does the stage's work for <see cref="Batches"/> MiB and returns the seconds of CPU that it took.</param>
    private sealed record Stage(string Name, Func<Task<double>> Run);

    public async Task RunAsync(CancellationToken stop)
    {
        using var workspace = new Workspace(options.Folder);
        byte[] random = new byte[BatchBytes], text = new byte[BatchBytes];
        new Random(1).NextBytes(random);
        SampleDisk.FillCompressible(text, new Random(1));
        SampleDisk.Create(workspace.At("disk"), Geometry.SizeBytes);
        var (packed, plain) = (Encode(1, text), Encode(1, random));
        var compressed = BatchCodec.Compress(packed, PayloadCompression.Zstd);
        var raw = new byte[BatchBytes];
        Stage[] stages =
        [
            new("write 4 KiB to the file", () => WriteFileAsync(workspace)),
            new("the same with capture and encoding", () => WriteCapturedAsync(workspace, stop)),
            new("encode", () => Each(n => Encode(n, random))),
            new("compress random data (zstd)", () => Each(_ => BatchCodec.Compress(plain, PayloadCompression.Zstd))),
            new("compress text (zstd)", () => Each(_ => BatchCodec.Compress(packed, PayloadCompression.Zstd))),
            new("compress text (LZ4)", () => Each(_ => BatchCodec.Compress(packed, PayloadCompression.Lz4))),
            new("channel over TLS, both ends", () => SendAsync(workspace, random, stop)),
            new("verify", () => Each(_ => BatchCodec.Verify(plain.Frame))),
            new("decompress text (zstd)", () => Each(_ => BatchCodec.Decompress(compressed, raw))),
            new("append and flush", () => AppendAsync(workspace, random)),
        ];
        for (var round = 0; round <= options.Rounds; round++)
            foreach (var stage in stages)
            {
                stop.ThrowIfCancellationRequested();
                var seconds = await stage.Run();
                if (round > 0) results.Add("CPU of a stage: " + stage.Name, "s/GiB", "siterecovery", seconds * (1 << 30) / Geometry.SizeBytes);
            }
    }

    private static async Task<double> CpuOfAsync(Func<Task> work)
    {
        var before = Environment.CpuUsage.TotalTime;
        await work();
        return (Environment.CpuUsage.TotalTime - before).TotalSeconds;
    }

    private static Task<double> Each(Action<int> work) => CpuOfAsync(() =>
    {
        for (var n = 1; n <= Batches; n++) work(n);
        return Task.CompletedTask;
    });

    private static Batch Encode(int ordinal, byte[] payload) => BatchCodec.Encode(new BatchHeader
    {
        Kind = BatchKind.Sync, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ordinal + 1,
        First = Sequence.None, Last = Sequence.None, Time = DateTimeOffset.UnixEpoch,
    }, [new Extent((long)(ordinal - 1) * BatchBytes, payload.Length, 0, ExtentKind.Data)], payload);

    private static Batch Start() => BatchCodec.Encode(new BatchHeader
    {
        Kind = BatchKind.Marker, Marker = MarkerKind.StreamStart, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = 1,
        First = Sequence.None, Last = Sequence.None, Time = DateTimeOffset.UnixEpoch,
    }, [], "gap"u8);

    private static async Task<double> WriteFileAsync(Workspace workspace)
    {
        await using var disk = new FileDevice(RealFileSystem.Instance.Open(workspace.At("disk"), FileOpening.ReadWrite), readOnly: false);
        return await CpuOfAsync(() => WriteAsync(disk));
    }

    private static async Task<double> WriteCapturedAsync(Workspace workspace, CancellationToken stop)
    {
        double captured;
        await using (var machine = await CapturedMachine.OpenAsync("bench", workspace.At("disk"), workspace.At("capture"), new NullTarget()))
        {
            await machine.SynchronizeAsync(stop);
            captured = await CpuOfAsync(() => WriteAsync(machine.Disk));
        }
        Directory.Delete(workspace.At("capture"), recursive: true);
        return captured;
    }

    private static async Task WriteAsync(IBlockDevice disk)
    {
        var data = new byte[4096];
        new Random(1).NextBytes(data);
        for (long at = 0; at < Geometry.SizeBytes; at += data.Length) await disk.WriteAsync(at, data, false, CancellationToken.None);
    }

    private static async Task<double> SendAsync(Workspace workspace, byte[] payload, CancellationToken stop)
    {
        await using var receiving = new ReceivingSide(new NullTarget(), workspace.Target);
        await using var client = ReceivingSide.Connect(receiving.Port, workspace.Agent);
        var arrived = new Arrival(Batches);
        await using var session = await client.OpenAsync(new StreamOpening(Machine, Epoch.First, [Geometry], 1), arrived, stop);
        var batch = Encode(Batches, payload);
        return await CpuOfAsync(async () =>
        {
            for (var n = 1; n <= Batches; n++) await session.OfferAsync(batch, stop);
            await arrived.Last.WaitAsync(stop);
        });
    }

    private static Task<double> AppendAsync(Workspace workspace, byte[] payload)
    {
        // Encoded before, so that only the store is measured: ordinals are all that differ.
        var batches = Enumerable.Range(1, Batches).Select(n => Encode(n, payload)).ToArray();
        using var store = RetentionStore.Create(workspace.At("store"), Machine, [Geometry], Epoch.First, RealFileSystem.Instance, TimeProvider.System);
        store.Append(Start());
        var seconds = CpuOfAsync(() =>
        {
            foreach (var some in batches.Chunk(16))
            {
                foreach (var batch in some) store.Append(batch);
                store.Flush();
            }
            return Task.CompletedTask;
        });
        Directory.Delete(workspace.At("store"), recursive: true);
        return seconds;
    }

    private sealed class Arrival(int batches) : IPositionListener
    {
        private readonly TaskCompletionSource _last = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public Task Last => _last.Task;

        public void Received(StreamPosition position)
        {
            if (position.Ordinal > batches) _last.TrySetResult();
        }

        public void Durable(StreamPosition position, Sequence sequence)
        {
        }
    }
}
