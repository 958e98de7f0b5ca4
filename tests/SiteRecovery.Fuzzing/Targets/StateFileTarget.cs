using SiteRecovery.DataPlane.Capture;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.Domain.History;
using System.Text.Json;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>A bitmap file, opened and used.</summary>
internal sealed class BitmapTarget : FuzzTarget
{
    private const long DiskBytes = 40 << 20;
    private static readonly Guid Boot = new("6f1b0000-0000-0000-0000-000000000001");

    internal override string Name => "bitmap";

    internal override IEnumerable<byte[]> Seeds()
    {
        foreach (var boot in (Guid[])[Boot, Guid.Empty])
        {
            var files = new MemoryFiles();
            using (var bitmap = BitmapFile.Open(files, "/d.bitmap", DiskBytes, boot)) bitmap.Mark(5 << 20, 1 << 20);
            yield return files["/d.bitmap"];
        }
    }

    internal override void Repair(byte[] input, Random random) => Checksums.File("/d.bitmap", input);

    internal override void Run(byte[] input)
    {
        var files = new MemoryFiles { ["/d.bitmap"] = input };
        using var bitmap = BitmapFile.Open(files, "/d.bitmap", DiskBytes, Boot);
        bitmap.Mark(DiskBytes - 1, 1);
        bitmap.Rotate();
        bitmap.ForgetPrevious();
        bitmap.Fold();
        bitmap.RetireRegions();
        if (bitmap.LostReason is not null && bitmap.Unsynced.None) throw new InvalidOperationException("a bitmap that is lost says that nothing is missing");
    }
}

/// <summary>The map of an overlay, opened, read through and written to.</summary>
internal sealed class OverlayTarget : FuzzTarget
{
    private const int DiskBytes = 80 << 10; // made anew for each input, in memory: below what .NET takes for a large object
    private static readonly Guid Boot = new("6f1b0000-0000-0000-0000-000000000001");
    private readonly byte[] _buffer = new byte[16 << 10];

    internal override string Name => "overlay";

    internal override long AllocatedMax(int inputBytes) => 8 << 20; // the disk itself is in memory here

    internal override IEnumerable<byte[]> Seeds()
    {
        foreach (var boot in (Guid[])[Boot, Guid.Empty])
        {
            var files = Files();
            using (var overlay = Open(files, boot))
            {
                overlay.Write(8192, new byte[4096]);
                overlay.Flush();
                overlay.Write(65536, new byte[100]);
            }
            yield return files["/o/d.map"];
        }
    }

    internal override void Repair(byte[] input, Random random) => Checksums.File("x.overlay", input);

    internal override void Run(byte[] input)
    {
        var files = Files();
        (files["/o/d.map"], files["/o/d.data"]) = (input, new byte[DiskBytes]);
        using var overlay = Open(files, Boot);
        for (long at = 0; at < overlay.LengthBytes; at += _buffer.Length) overlay.Read(at, _buffer);
        overlay.Write(4000, _buffer.AsSpan(0, 5000));
        overlay.RunAt(0);
        overlay.Flush();
    }

    private static MemoryFiles Files() => new() { ["/base"] = new byte[DiskBytes] };

    private static OverlayFile Open(MemoryFiles files, Guid boot) => new(files.Open("/base", DataPlane.Storage.FileOpening.Read), "/o/d", files, boot);
}

/// <summary>capture.json.</summary>
internal sealed class CaptureStateTarget : FuzzTarget
{
    internal override string Name => "capture-json";
    internal override bool IsText => true;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("Epoch", "Fenced", "Reserved", "CleanAt", "BootId", "checksum")];

    internal override IEnumerable<byte[]> Seeds()
    {
        var files = new MemoryFiles();
        new CaptureState { Epoch = 3, Incarnation = 9, Reserved = 1 << 20, CleanAt = 7, BootId = "b", EverSynchronized = true, Durable = 5 }.Save(files, "/capture.json");
        yield return files["/capture.json"];
        yield return "{\"Epoch\":1,\"Fenced\":true}"u8.ToArray();
    }

    /// <summary>A capture whose state is damaged does not open, which is said by this.</summary>
    internal override bool Expects(Exception refusal) => refusal is JsonException;

    internal override void Repair(byte[] input, Random random) => Checksums.File("/capture.json", input);

    internal override void Run(byte[] input) => CaptureState.TryLoad(new MemoryFiles { ["/capture.json"] = input }, "/capture.json");
}

/// <summary>What a process server left in its spool's folder: one of its files, as another process finds it.</summary>
internal sealed class SpoolTarget : FuzzTarget
{
    private static readonly MachineId Machine = new("db1");
    private static readonly string[] Paths = ["/s/db1~0000000001.seg", "/s/db1~state.json", "/s/db1~durable"];
    private readonly MemoryFiles _template = new();

    internal override string Name => "spool";
    internal override int SelectorBytes => 1;

    internal SpoolTarget()
    {
        var opening = new StreamOpening(Machine, Epoch.First, [new DiskGeometry(0, "vda", 1 << 20)], 1);
        var segment = SpoolSegment.Create(_template, "/s", 1, opening);
        var file = segment.File(_template);
        foreach (var batch in BatchTarget.Samples())
        {
            file.Write(segment.End, batch.Frame.Span);
            segment.End += batch.Frame.Length;
        }
        segment.Close();
        using var state = new SpoolState(_template, "/s", Machine, Guid.Empty);
        state.SaveEpoch(Epoch.First);
        state.SaveDurable(new StreamPosition(1, 3), new Sequence(0));
    }

    internal override IEnumerable<byte[]> Seeds() => Paths.Select((path, i) => (byte[])[(byte)i, .. _template[path]]);

    internal override void Repair(byte[] input, Random random)
    {
        if (input.Length == 0) return;
        var file = input[1..];
        Checksums.File(Paths[input[0] % Paths.Length], file);
        file.CopyTo(input, 1);
    }

    internal override bool Expects(Exception refusal) => base.Expects(refusal) || refusal is SpoolDamagedException;

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        var files = _template.Fork();
        files[Paths[input[0] % Paths.Length]] = input[1..];
        using var state = new SpoolState(files, "/s", Machine, Guid.Empty);
        state.Load(givesUp: false);
        if (SpoolSegment.TryOpen(files, Paths[0], Machine, 1, givesUp: input[0] % 2 == 0) is not { } segment) return;
        var found = new List<(long At, BatchHeader Header)>();
        segment.Scan(files, whole: input[0] < 128, givesUp: input[0] % 2 == 0, (at, header) => found.Add((at, header)));
        foreach (var (at, header) in found) FramePool.Shared.Return(segment.ReadFrame(files, at, new StreamPosition(header.Incarnation, header.Ordinal)).Frame);
        segment.Seal(files);
    }
}
