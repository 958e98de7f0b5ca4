using System.Globalization;
using System.Text.Unicode;

namespace SiteRecovery.Node.Bench;

/// <summary>A disk as the benchmarks want it: of every 4 MiB half random, a quarter zero, a quarter compressible.</summary>
public static class SampleDisk
{
    public const int ChunkBytes = 1 << 20;

    public static void Create(string path, long bytes, int seed = 1)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write, preallocationSize: 0);
        RandomAccess.SetLength(file, bytes);
        var (random, chunk) = (new Random(seed), new byte[ChunkBytes]);
        for (long at = 0; at < bytes; at += ChunkBytes)
        {
            var part = chunk.AsSpan(0, (int)Math.Min(ChunkBytes, bytes - at));
            switch (at / ChunkBytes % 4)
            {
                case 0 or 2: random.NextBytes(part); break;
                case 1: FillCompressible(part, random); break;
                default: part.Clear(); break;
            }
            // Zeroes are written, not left as a hole: a guest's disk is rarely sparse where it is empty.
            RandomAccess.Write(file, part, at);
        }
        RandomAccess.FlushToDisk(file);
    }

    /// <summary>Rows of a log with numbers in them, about 4 to 1 for zstd.</summary>
    public static void FillCompressible(Span<byte> into, Random random)
    {
        Span<byte> row = stackalloc byte[160];
        while (into.Length > 0)
        {
            Utf8.TryWrite(row, CultureInfo.InvariantCulture,
                $"{random.Next():D10},2026-11-25T08:{random.Next(60):D2}:{random.Next(60):D2}Z,host-{random.Next(200)},INFO,request finished in {random.Next(5000)} ms, status=200\n", out var length);
            var part = row[..Math.Min(length, into.Length)];
            part.CopyTo(into);
            into = into[part.Length..];
        }
    }
}
