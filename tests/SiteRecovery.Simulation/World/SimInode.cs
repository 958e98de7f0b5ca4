namespace SiteRecovery.Simulation.World;

internal enum ChangeKind { Write, Zero, SetLength }

/// <summary>A change of a file that no flush has made durable yet.</summary>
internal readonly record struct Change(ChangeKind Kind, long Offset, long Length, byte[]? Data)
{
    /// <param name="lands">Which of its sectors do; a length lands as a whole.</param>
    internal void ApplyTo(SimContent content, Func<long, bool> lands)
    {
        if (Kind == ChangeKind.SetLength)
        {
            if (lands(0)) content.SetLength(Length);
            return;
        }
        for (long at = 0; at < Length;)
        {
            var sector = (Offset + at) / SimDisk.SectorBytes;
            var part = Math.Min(Length - at, (sector + 1) * SimDisk.SectorBytes - Offset - at);
            if (lands(sector))
            {
                if (Kind == ChangeKind.Zero) content.Zero(Offset + at, part);
                else content.Write(Offset + at, Data.AsSpan((int)at, (int)part));
            }
            at += part;
        }
    }

    internal void ApplyTo(SimContent content)
    {
        if (Kind == ChangeKind.Write) content.Write(Offset, Data);
        else if (Kind == ChangeKind.Zero) content.Zero(Offset, Length);
        else content.SetLength(Length);
    }
}

/// <summary>What a name of the disk may stand for.</summary>
internal abstract class SimNode;

/// <summary>A file: its bytes as they are, as they were last flushed, and what lies between.</summary>
internal sealed class SimInode : SimNode
{
    internal SimContent Live { get; private set; } = new();
    internal SimContent Durable { get; private set; } = new();
    internal List<Change> Pending { get; } = [];
    /// <summary>Pages that fail when they are read, until they are written anew as a whole: a file system reads no less, however small the bad sector in them is.</summary>
    internal HashSet<long> Unreadable { get; } = [];
    /// <summary>Of these the disk has lost the durable bytes: what was written there since is read from memory, and is gone with it until a flush.</summary>
    private readonly HashSet<long> _bad = [];
    /// <summary>A flush has failed to write some of what is shown: it is shown until its page is dropped.</summary>
    internal bool ShowsWhatIsNotThere { get; private set; }
    internal int Opens { get; set; }
    internal bool Linked { get; set; }

    internal void Spoil(long offset)
    {
        Unreadable.Add(offset / SimContent.PageBytes);
        _bad.Add(offset / SimContent.PageBytes);
    }

    /// <summary>As with a file system's cache: a page that is changed in part, also one that a shorter file ends in or that a longer one goes on behind, is read first.</summary>
    internal bool CannotRead(Change change)
    {
        if (Unreadable.Count == 0) return false;
        if (change.Kind == ChangeKind.SetLength) return change.Length != Live.Length && CutsUnreadable(Math.Min(change.Length, Live.Length));
        if (change.Offset > Live.Length && CutsUnreadable(Live.Length)) return true;
        return CutsUnreadable(change.Offset) || CutsUnreadable(change.Offset + change.Length);
    }

    private bool CutsUnreadable(long at) => at % SimContent.PageBytes > 0 && Unreadable.Contains(at / SimContent.PageBytes);

    internal void Change(Change change)
    {
        change.ApplyTo(Live);
        if (change.Kind == ChangeKind.SetLength) Pending.Add(change);
        else PendSectors(change);
        if (Unreadable.Count == 0) return;
        if (change.Kind == ChangeKind.SetLength) Unreadable.RemoveWhere(page => page * SimContent.PageBytes >= change.Length);
        else Unreadable.RemoveWhere(page => page * SimContent.PageBytes >= change.Offset && (page + 1) * SimContent.PageBytes <= change.Offset + change.Length);
    }

    /// <summary>A sector goes to the disk as a whole, as it is then: what an earlier change left in it goes along.</summary>
    private void PendSectors(Change change)
    {
        const int sector = SimDisk.SectorBytes;
        var (from, to) = (change.Offset / sector * sector, Math.Min(Live.Length, (change.Offset + change.Length + sector - 1) / sector * sector));
        var (first, last) = ((change.Offset + sector - 1) / sector * sector, (change.Offset + change.Length) / sector * sector);
        if (change.Kind == ChangeKind.Zero && first < Math.Min(last, to))
        {
            PendBytes(from, first);
            Pending.Add(new Change(ChangeKind.Zero, first, Math.Min(last, to) - first, null));
            PendBytes(last, to);
        }
        else PendBytes(from, to);
    }

    private void PendBytes(long from, long to)
    {
        if (from >= to) return;
        var bytes = new byte[to - from];
        Live.Read(from, bytes);
        Pending.Add(new Change(ChangeKind.Write, from, bytes.Length, bytes));
    }

    internal void Flush()
    {
        foreach (var change in Pending) change.ApplyTo(Durable);
        Pending.Clear();
        _bad.IntersectWith(Unreadable);
    }

    /// <summary>As Linux does it: what a failed flush did not write is not written later either.</summary>
    /// <param name="lost">Told of the sectors that it did not write.</param>
    internal void FlushBadly(Random random, Action<long>? lost)
    {
        var landed = new Landed();
        foreach (var change in Pending)
        {
            change.ApplyTo(Durable, landed.Noting(change, sector =>
            {
                var lands = random.Next(2) == 0;
                if (!lands) lost?.Invoke(sector);
                ShowsWhatIsNotThere |= !lands;
                return lands;
            }));
        }
        Pending.Clear();
        _bad.RemoveWhere(page => !Unreadable.Contains(page) && landed.Covers(page));
    }

    /// <summary>It shows what is on the disk, and what is on its way there.</summary>
    internal void ForgetCached()
    {
        ShowsWhatIsNotThere = false;
        Live = Durable.Copy();
        foreach (var change in Pending) change.ApplyTo(Live);
        Unreadable.UnionWith(_bad.Where(page => !Pending.Any(change => change.Kind != ChangeKind.SetLength
            && change.Offset < (page + 1) * SimContent.PageBytes && change.Offset + change.Length > page * SimContent.PageBytes)));
    }

    internal void Flip(long offset, byte mask)
    {
        Live.Flip(offset, mask);
        Durable.Flip(offset, mask);
    }

    internal SimInode Copy()
    {
        var copy = new SimInode { Live = Live.Copy(), Durable = Durable.Copy(), Linked = true, ShowsWhatIsNotThere = ShowsWhatIsNotThere };
        copy.Pending.AddRange(Pending);
        copy.Unreadable.UnionWith(Unreadable);
        copy._bad.UnionWith(_bad);
        return copy;
    }

    /// <summary>With what a loss of power leaves.</summary>
    internal SimInode Survivor(Fate fate, Random random)
    {
        var (content, landed) = (Durable.Copy(), new Landed());
        var (whole, torn) = (fate == Fate.Prefix ? random.Next(Pending.Count + 1) : 0, random.Next(1, 64));
        for (var i = 0; i < Pending.Count; i++)
        {
            var (change, sectors) = (Pending[i], 0);
            if (fate == Fate.Kept || (fate == Fate.Prefix && i < whole)) change.ApplyTo(content, landed.Noting(change, _ => true));
            else if (fate == Fate.Prefix && i == whole) change.ApplyTo(content, landed.Noting(change, _ => sectors++ < torn));
            else if (fate == Fate.Scattered && random.Next(3) is var how && how > 0) change.ApplyTo(content, landed.Noting(change, _ => how == 1 || random.Next(2) == 0));
        }
        var survivor = new SimInode { Live = content, Durable = content.Copy(), Linked = true };
        // Behind the end there is no page: one that the file grows by is another one.
        survivor._bad.UnionWith(_bad.Where(page => page * SimContent.PageBytes < content.Length && (Unreadable.Contains(page) || !landed.Covers(page))));
        survivor.Unreadable.UnionWith(survivor._bad);
        return survivor;
    }
}

/// <summary>What of a file's changes has come to the disk.</summary>
internal sealed class Landed
{
    private readonly HashSet<long> _sectors = [];
    private long _cutAt = long.MaxValue;

    internal Func<long, bool> Noting(Change change, Func<long, bool> lands) => sector =>
    {
        if (!lands(sector)) return false;
        if (change.Kind == ChangeKind.SetLength) _cutAt = Math.Min(_cutAt, change.Length);
        else _sectors.Add(sector);
        return true;
    };

    /// <summary>Whether the page was written as a whole, or the file ended in front of it: then it is another page of the disk.</summary>
    internal bool Covers(long page)
    {
        const long each = SimContent.PageBytes / SimDisk.SectorBytes;
        if (page * SimContent.PageBytes >= _cutAt) return true;
        for (var sector = page * each; sector < (page + 1) * each; sector++)
            if (!_sectors.Contains(sector)) return false;
        return true;
    }
}

/// <summary>What becomes of changes that were not flushed: all there, all gone, the first of them there with the last one torn, or any of them, in sectors.</summary>
internal enum Fate { Kept, Lost, Prefix, Scattered }
