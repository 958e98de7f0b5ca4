namespace SiteRecovery.Node.Demo.Guest;

/// <summary>Records of one life that were acknowledged.</summary>
public sealed record GuestSpan(uint Life, long First, long Last);

/// <summary>What was acknowledged to the guest, life after life: a life that went on from a prefix has left the rest behind.</summary>
public sealed record GuestHistory(IReadOnlyList<GuestSpan> Spans)
{
    public static GuestHistory Empty { get; } = new([]);

    public long Last => Spans.Count == 0 ? 0 : Spans[^1].Last;

    /// <summary>Another life went on behind the first so many records. What was in flight when a life ended may be there, though nobody heard of it.</summary>
    public GuestHistory Then(long kept, uint life, long last)
    {
        var spans = Spans.Where(s => s.First <= kept).Select(s => s with { Last = Math.Min(s.Last, kept) }).ToList();
        if (spans.Count > 0 && spans[^1].Last < kept) spans[^1] = spans[^1] with { Last = kept };
        spans.Add(new GuestSpan(life, kept + 1, last));
        return new GuestHistory(spans);
    }

    /// <summary>
    /// Reads the whole of a copy and says which prefix of the history it is. Beyond it there must be nothing but what a later life has written meanwhile: a record of the history there
    /// is a write that came before one that is missing.
    /// </summary>
    public async Task<PrefixVerdict> JudgeAsync(Func<long, Memory<byte>, Task> read, Func<long, DateTimeOffset> heardAt)
    {
        var chunk = new byte[GuestRecord.ChunkRecords * GuestRecord.Bytes];
        long prefix = 0;
        for (long number = 1; number <= GuestRecord.RecordsMax; number++)
        {
            var at = (int)((number - 1) % GuestRecord.ChunkRecords);
            if (at == 0) await read(GuestRecord.OffsetOf(number), chunk);
            // It may be written right now.
            if (!IsKnown(chunk, at, number)) await read(GuestRecord.OffsetOf(number), chunk.AsMemory(at * GuestRecord.Bytes, GuestRecord.Bytes));
            if (!IsKnown(chunk, at, number)) return Broken($"at offset {GuestRecord.OffsetOf(number)} there is what no guest wrote: neither record {number} nor nothing");
            var life = GuestRecord.LifeOf(Sector(chunk, at), (uint)number);
            if (prefix == number - 1 && life is not null && life == LifeOf(number)) prefix = number;
            else if (life is { } wrote && Spans.Count > 0 && wrote <= Spans[^1].Life) return Broken($"no prefix explains the copy: it holds record {number} but lacks record {prefix + 1}");
        }
        var lost = Math.Max(0, Last - prefix);
        return new PrefixVerdict(true, prefix, lost, lost == 0 ? 0 : (heardAt(Last) - heardAt(Math.Max(1, prefix))).TotalSeconds, null);
    }

    /// <summary>Who wrote it; also the one that was in flight.</summary>
    private uint? LifeOf(long number) => number == Last + 1 && Spans.Count > 0 ? Spans[^1].Life : Spans.FirstOrDefault(s => number >= s.First && number <= s.Last)?.Life;

    private static bool IsKnown(byte[] chunk, int at, long number) =>
        Sector(chunk, at).IndexOfAnyExcept((byte)0) < 0 || GuestRecord.LifeOf(Sector(chunk, at), (uint)number) is not null;

    private static ReadOnlySpan<byte> Sector(byte[] chunk, int at) => chunk.AsSpan(at * GuestRecord.Bytes, GuestRecord.Bytes);

    private PrefixVerdict Broken(string reason) => new(false, 0, Last, 0, reason);
}
