using System.Buffers.Binary;
using System.IO.Hashing;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Retention;

/// <summary>
/// The leaves of the root hash as they were at one position: STORE.md, `PROOF`. They are changed in place on the way to the next one; cut short there, each is
/// either old or new, and going the way once more from the old position makes all of them new. Not safe for concurrent calls.
/// </summary>
internal sealed class ProofFile : IDisposable
{
    internal const string FileName = "PROOF";
    private const int HeaderBytes = 48, HashedBytes = 40, Unreadable = -1;
    private const uint Magic = 0x31505253; // "SRP1"
    private readonly LeafFile _leaves;
    private readonly ulong _tag;
    private readonly int _version; // 2 where the leaves are encrypted

    private ProofFile(LeafFile leaves, ulong tag, int version) => (_leaves, _tag, _version) = (leaves, tag, version);

    /// <summary>What the leaves are of; null: of nothing yet, and each is to be made.</summary>
    /// <remarks>The position in the log is that of the frame behind the point's, for one position may come to show another state.</remarks>
    internal (Epoch Epoch, Sequence Sequence, FramePosition Behind)? Position { get; private set; }

    /// <param name="keys">Null: the leaves are not to be encrypted. A file in which they are otherwise is made anew.</param>
    internal static ProofFile Open(string folder, IReadOnlyList<DiskRecord> disks, ulong tag, IFileSystem files, StoreKeys? keys)
    {
        var path = Path.Combine(folder, FileName);
        var (isNew, file) = (!files.Exists(path), files.Open(path, FileOpening.Create));
        try
        {
            var version = keys is null ? 1 : 2;
            if (VersionOf(file) is var found && found != 0 && found != version) file.SetLength(0);
            var leaves = new LeafFile(file, disks.Select(d => (d.Index, d.SizeBytes)), keys?.CipherFor(KeyUse.Proof, 0));
            var proof = new ProofFile(leaves, tag, version);
            if (isNew) files.FlushFolder(folder);
            if (!leaves.IsNew) proof.Position = proof.ReadHeader();
            leaves.IsBeingMade = proof.Position is null;
            return proof;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>They are of nothing from here on. Durable when it returns.</summary>
    internal void Forget()
    {
        (Position, _leaves.IsBeingMade) = (null, true);
        _leaves.Drop();
        _leaves.File.Write(0, new byte[LeafFile.PageBytes]); // of a page that cannot be read no part can be written
        _leaves.File.Flush();
    }

    /// <exception cref="InvalidDataException">The page that it is on is damaged.</exception>
    internal void Set(ushort disk, long block, ulong leaf) => _leaves.Set(disk, block, leaf);

    /// <summary>The leaves are those of this position. Durable when it returns.</summary>
    internal void Reach(Epoch epoch, Sequence sequence, FramePosition behind)
    {
        _leaves.Flush();
        Span<byte> header = stackalloc byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], _version);
        BinaryPrimitives.WriteUInt64LittleEndian(header[8..], _tag);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], sequence.Value);
        BinaryPrimitives.WriteInt32LittleEndian(header[24..], epoch.Value);
        BinaryPrimitives.WriteInt32LittleEndian(header[28..], behind.Segment);
        BinaryPrimitives.WriteInt32LittleEndian(header[32..], behind.Index);
        BinaryPrimitives.WriteUInt64LittleEndian(header[HashedBytes..], XxHash3.HashToUInt64(header[..HashedBytes]));
        _leaves.File.Write(0, header);
        _leaves.File.Flush();
        (Position, _leaves.IsBeingMade) = ((epoch, sequence, behind), false);
    }

    /// <summary>Of the leaves as they are.</summary>
    /// <exception cref="InvalidDataException">A page is damaged.</exception>
    internal string Root() => _leaves.Root();

    public void Dispose() => _leaves.Dispose();

    /// <summary>0: it holds leaves of no position.</summary>
    private static int VersionOf(IBlockFile file)
    {
        Span<byte> header = stackalloc byte[8];
        try
        {
            file.Read(0, header);
        }
        catch (IOException)
        {
            return Unreadable;
        }
        return BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic ? BinaryPrimitives.ReadInt32LittleEndian(header[4..]) : 0;
    }

    private (Epoch, Sequence, FramePosition)? ReadHeader()
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        _leaves.File.Read(0, header);
        if (BinaryPrimitives.ReadUInt32LittleEndian(header) != Magic || BinaryPrimitives.ReadInt32LittleEndian(header[4..]) != _version || BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != _tag
            || BinaryPrimitives.ReadUInt64LittleEndian(header[HashedBytes..]) != XxHash3.HashToUInt64(header[..HashedBytes])) return null;
        return (new Epoch(BinaryPrimitives.ReadInt32LittleEndian(header[24..])), new Sequence(BinaryPrimitives.ReadInt64LittleEndian(header[16..])),
            new FramePosition(BinaryPrimitives.ReadInt32LittleEndian(header[28..]), BinaryPrimitives.ReadInt32LittleEndian(header[32..])));
    }
}
