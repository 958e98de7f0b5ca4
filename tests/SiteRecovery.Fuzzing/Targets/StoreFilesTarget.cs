using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>The files of a retention store one by one, each by its own reader alone.</summary>
internal sealed class StoreFilesTarget : FuzzTarget
{
    private const string Path = "/f/log/x";
    private const byte Partial = 128; // in place of a file of the sample, which was not cut short
    private const int PartialSegment = 3;
    private static readonly ulong Tag = BatchCodec.TagOf(StoreSample.Machine);
    private readonly StoreSample _sample = new();

    internal override string Name => "store-files";
    internal override int SelectorBytes => 1;
    internal override int InputBytesMax => 128 << 10;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("version", "epochs", "disks", "promoted", "thinned", "points", "checksum", "segment", "notes")];

    internal override IEnumerable<byte[]> Seeds() => [.. _sample.Inputs, OfPartial()];

    internal override void Repair(byte[] input, Random random)
    {
        if (input.Length > 0 && input[0] >= Partial) Checksums.Behind(input.AsSpan(1), input.Length - 1 - sizeof(ulong));
        else _sample.Repair(input);
    }

    private static byte[] OfPartial()
    {
        var files = new MemoryFiles();
        PartialBlocks.Of(PartialSegment, Enumerable.Range(0, 20).ToDictionary(i => ((ushort)(i % 2), (long)i * 7), i => (ulong)i)).Save("/f", Tag, files);
        return [Partial, .. files["/f/" + PartialBlocks.FileName]];
    }

    /// <summary>A map of a few MiB of blocks has a copy here; leaves are held by pages.</summary>
    internal override long AllocatedMax(int inputBytes) => (8L << 20) + 64L * inputBytes;

    internal override void Run(byte[] input)
    {
        if (input.Length == 0) return;
        if (input[0] >= Partial)
        {
            PartialBlocks.Load("/f", PartialSegment, Tag, new MemoryFiles { ["/f/" + PartialBlocks.FileName] = input[1..] }, givesUpUnreadable: false)?.Has(1, 7, 1);
            return;
        }
        var (path, content) = (_sample.PathOf(input), input[1..]);
        var id = SegmentFile.TryParse(path)?.Id ?? SegmentId.Of(1);
        switch (System.IO.Path.GetExtension(path))
        {
            case ".seg":
                using (var file = Of(content).Open(Path, FileOpening.Read)) SegmentFile.Scan(file, Tag, id, (_, batch) => TakeApart(batch));
                break;
            case ".idx":
                foreach (var (_, prefix) in SegmentIndex.TryRead(content, Tag, id.Number) ?? []) TakeApart(prefix);
                break;
            case ".end":
                if (SegmentEnd.TryRead(content, Tag, id.Number) is { } end)
                    foreach (var point in end.Points) point.ToPoint();
                break;
            case ".map":
                Look(content, id, _sample.Files[System.IO.Path.ChangeExtension(path, ".seg")].Length);
                break;
            default:
                if (path.EndsWith(StoreManifest.FileName, StringComparison.Ordinal)) StoreManifest.Parse(content).Versioned().ToBytes();
                else if (path.EndsWith(PointNotes.FileName, StringComparison.Ordinal)) PointNotes.Read(content);
                else if (path.EndsWith(ProofFile.FileName, StringComparison.Ordinal))
                    using (var proof = ProofFile.Open("/f", [new DiskRecord(0, "vda", StoreSample.DiskBytes)], Tag, new MemoryFiles { ["/f/" + ProofFile.FileName] = content }, null))
                        proof.Root();
                break;
        }
    }

    private static MemoryFiles Of(byte[] content) => new() { [Path] = content };

    private static void TakeApart(Batch batch)
    {
        for (var i = 0; i < batch.Header.ExtentCount; i++) batch.ExtentAt(i);
    }

    private static void Look(byte[] content, SegmentId id, long segmentBytes)
    {
        using var map = MapFile.TryOpen(Path, Of(content), Tag, id, segmentBytes);
        if (map is null) return;
        var found = new List<MappedExtent>();
        map.Find(0, 0, StoreSample.DiskBytes, found);
        map.Find(ushort.MaxValue, 0, long.MaxValue, found);
        foreach (var _ in map.InOrder())
        {
            // Read to its end.
        }
    }
}
