using System.Buffers.Binary;

namespace SiteRecovery.Agent;

/// <summary>Formats in which a file holds a disk's content behind a table of its own, by how they begin. What they hold is not what a guest sees, and a replica of it boots nothing.</summary>
internal static class ImageFormat
{
    /// <summary>All that tells them apart lies in these.</summary>
    public const int HeadBytes = 512;

    private const int VdiAt = 64;
    private const uint Vdi = 0xbeda107f;
    private static readonly byte[] Qcow = [(byte)'Q', (byte)'F', (byte)'I', 0xfb];

    /// <returns>Its name; null: none of them, so that what is there is the disk itself: a partition table, LUKS, a file system, nothing.</returns>
    public static string? Of(ReadOnlySpan<byte> head) => head switch
    {
        _ when head.StartsWith(Qcow) => "qcow2",
        _ when head.StartsWith("KDMV"u8) || head.StartsWith("# Disk DescriptorFile"u8) => "VMDK",
        _ when head.StartsWith("vhdxfile"u8) => "VHDX",
        _ when head.StartsWith("conectix"u8) => "VHD",
        _ when head.Length >= VdiAt + sizeof(uint) && BinaryPrimitives.ReadUInt32LittleEndian(head[VdiAt..]) == Vdi => "VDI",
        _ => null,
    };
}
