namespace SiteRecovery.DataPlane.Retention;

/// <summary>The blocks of a disk that promotion has written, over what lies below. Reads and one writer go on beside each other.</summary>
internal interface IBaseImage : IDisposable
{
    /// <exception cref="IOException">A block is not what was written.</exception>
    void Read(long offset, Span<byte> into);

    /// <summary>The first run at that offset: blocks of zeroes are holes, and what is not here is as it is below.</summary>
    (long Length, bool Hole) RunAt(long offset);

    /// <summary>
    /// Takes bytes in, each of them once in a promotion; durable after <see cref="Flush"/>. Blocks that came as a whole are made so before, when many of them wait: a promotion of what was trimmed has as many as the disk.
    /// </summary>
    void Write(long offset, ReadOnlySpan<byte> from);

    /// <summary>Bytes that should come here are damaged where they lie: who reads the blocks is told so, until they are written as a whole.</summary>
    void Lose(long offset, long length);

    /// <summary>Looks whether <see cref="Flush"/> can read what it needs.</summary>
    /// <exception cref="NotReadableYetException"/>
    void Look();

    /// <summary>By the one that writes.</summary>
    void Flush();

    /// <summary>What was written since the last flush will be written once more.</summary>
    void Restart();

    /// <summary>Reads and checks the blocks that are here from an offset on, at most 1 MiB; what is not here is passed over.</summary>
    (long Bytes, StoreDamage? Damage) Scrub(long offset, long bytes);

    /// <summary>Reads every block back, a piece at a time.</summary>
    internal IEnumerable<StoreDamage> Verify(long sizeBytes)
    {
        for (long at = 0; at < sizeBytes;)
        {
            var (bytes, damage) = Scrub(at, sizeBytes - at);
            if (damage is not null) yield return damage;
            at += bytes;
        }
    }
}
