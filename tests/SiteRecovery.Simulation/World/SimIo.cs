namespace SiteRecovery.Simulation.World;

public enum IoKind { Create, Read, Write, SetLength, Zero, Flush, Rename, Delete, MakeFolder, DeleteFolder, FlushFolder }

/// <summary>One thing that was asked of a disk.</summary>
/// <param name="Number">From 1 on; reads have that of what came before them.</param>
public readonly record struct SimIo(long Number, IoKind Kind, string Path, long Offset = 0, long Length = 0)
{
    public override string ToString() => $"{Number} {Kind} {Path} {Offset}+{Length}";
}

/// <summary>How an I/O fails: at once, or having done half of it.</summary>
public enum Fault { None, Error, Torn }
