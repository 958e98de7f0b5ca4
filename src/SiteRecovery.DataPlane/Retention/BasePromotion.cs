namespace SiteRecovery.DataPlane.Retention;

/// <summary>What the promotion that is under way makes of the blocks of the base: STORE.md, Promotion. Safe for concurrent calls, but for <see cref="TryComplete"/>, which is for the one that writes.</summary>
/// <param name="written">What is promoted.</param>
/// <param name="partial">Null: it was begun by a store of before there were any. Then what it covers a part of is believed.</param>
internal sealed class BasePromotion(int segment, StoreView written, PartialBlocks? partial, UnreadablePlaces unreadable)
{
    internal delegate void Reader(long offset, Span<byte> into);

    /// <summary>The last of the segments.</summary>
    internal int Segment => segment;

    /// <summary>Whether a block that is not what its checksum says is one that was being written, and right where it is not written.</summary>
    internal bool MayBeTorn(ushort disk, long offset, ReadOnlySpan<byte> block)
    {
        var cover = written.CoverOfBlock(disk, offset);
        var covered = cover.Count(e => e.Segment.Number != StoreView.BelowTheLog);
        if (covered == 0) return false;
        return covered == cover.Count || partial is null || partial.Has(disk, offset / PromotedImage.BlockBytes, PartialBlocks.RestOf(block, offset, cover));
    }

    /// <summary>Reads a block of which a part is about to be written, for the first time. False: what will be left of it is damaged, or could not be read for long.</summary>
    /// <exception cref="NotReadableYetException"/>
    internal bool TryComplete(ushort disk, long offset, Span<byte> block, Reader read)
    {
        if (written.CoverOfBlock(disk, offset).TrueForAll(e => e.Segment.Number != StoreView.BelowTheLog))
        {
            // Nothing will be left of it, whatever is there.
            block.Clear();
            return true;
        }
        try
        {
            read(offset, block);
            unreadable.WasRead(UnreadablePlaces.OfDisk(disk), offset);
            return true;
        }
        catch (IOException failure) when (failure is not NotReadableYetException)
        {
            if (unreadable.IsDamage(failure, UnreadablePlaces.OfDisk(disk), offset)) return false;
            throw new NotReadableYetException(failure);
        }
    }

    /// <summary>Reads a piece of what an image says of its blocks, to write it anew. False: it could not be read for long.</summary>
    /// <exception cref="NotReadableYetException"/>
    internal bool TryReadTable(ushort disk, long offset, Span<byte> piece, Reader read)
    {
        try
        {
            read(offset, piece);
            unreadable.WasRead(UnreadablePlaces.OfDisk(disk), UnreadablePlaces.OfTable(offset));
            return true;
        }
        catch (IOException failure)
        {
            if (unreadable.IsDamage(failure, UnreadablePlaces.OfDisk(disk), UnreadablePlaces.OfTable(offset))) return false;
            throw new NotReadableYetException(failure);
        }
    }
}
