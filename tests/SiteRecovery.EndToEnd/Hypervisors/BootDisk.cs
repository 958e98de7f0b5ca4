using System.Net.Sockets;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Nbd;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.EndToEnd.Hypervisors;

/// <summary>
/// A disk whose boot sector is a whole guest, served over NBD: it writes itself to its second sector, so that the host sees that it runs and writes, and
/// then waits for the power button. It is up within a second under emulation.
/// </summary>
internal sealed class BootDisk : IAsyncDisposable
{
    private const int SectorBytes = 512, ButtonAt = 0x1C;
    internal const long SizeBytes = 1 << 20;

    private static readonly byte[] Program =
    [
        0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, 0xBC, 0x00, 0x7C, // xor ax,ax; ds = es = ss = ax; sp = 7C00
        0xB8, 0x01, 0x03, 0xB9, 0x02, 0x00, 0xB6, 0x00, 0xBB, 0x00, 0x7C, 0xCD, 0x13, // BIOS: write one sector from 7C00 to sector 2
        0xBA, 0x02, 0x06, 0xB8, 0x00, 0x01, 0xEF, // ACPI PM1 enable (port 602): the power button; the word at ButtonAt - 1
        0xBA, 0x00, 0x06, 0xED, 0xF6, 0xC4, 0x01, 0x75, 0x04, // ACPI PM1 status (port 600): pressed? then on to the last line
        0xFB, 0xF4, 0xEB, 0xF6, // sti; hlt; look again after the next tick
        0xBA, 0x04, 0x06, 0xB8, 0x00, 0x20, 0xEF, 0xEB, 0xFE, // ACPI PM1 control (port 604): off
    ];

    private readonly string _path;
    private readonly IBlockFile _file;
    private readonly NbdServer _server;
    private readonly Filling _device;

    private BootDisk(string folder, string name)
    {
        _path = Path.Combine(folder, name + ".raw");
        _file = RealFileSystem.Instance.Open(_path, FileOpening.ReadWrite);
        var exports = new NbdExports();
        exports.Add(new NbdExport(name, _device = new Filling(new FileDevice(_file, readOnly: false)), name));
        _server = new NbdServer(exports, new NbdServerOptions(), TimeProvider.System);
        var socket = Path.Combine(folder, name + ".sock");
        _server.Listen(new UnixDomainSocketEndPoint(socket));
        Uri = $"nbd+unix:///{name}?socket={socket}";
    }

    internal string Uri { get; }

    /// <summary>It takes no writes for want of room.</summary>
    internal bool IsFull { set => _device.IsFull = value; }

    internal bool IsOpen => _server.Connections > 0;

    internal static BootDisk Serve(string folder, string name, bool hearsButton)
    {
        Write(Path.Combine(folder, name + ".raw"), hearsButton);
        return new BootDisk(folder, name);
    }

    internal static void Write(string path, bool hearsButton)
    {
        var sector = new byte[SectorBytes];
        Program.CopyTo(sector, 0);
        if (!hearsButton) sector[ButtonAt + 1] = 0;
        (sector[510], sector[511]) = (0x55, 0xAA);
        using var file = RealFileSystem.Instance.Open(path, FileOpening.Create);
        file.SetLength(SizeBytes);
        file.Write(0, sector);
    }

    /// <summary>The guest runs, and what it wrote has arrived; forgets it, so that the next boot can be waited for.</summary>
    internal async Task BootedAsync(CancellationToken stop)
    {
        var sectors = new byte[2 * SectorBytes];
        while (true)
        {
            _file.Read(0, sectors);
            if (sectors.AsSpan(0, SectorBytes).SequenceEqual(sectors.AsSpan(SectorBytes))) break;
            await Task.Delay(20, stop);
        }
        _file.Write(SectorBytes, new byte[SectorBytes]);
    }

    private sealed class Filling(IBlockDevice disk) : IBlockDevice
    {
        private const int NoSpace = 28; // ENOSPC

        internal volatile bool IsFull;
        public long SizeBytes => disk.SizeBytes;
        public bool ReadOnly => disk.ReadOnly;
        public ValueTask ReadAsync(long offset, Memory<byte> into, CancellationToken stop) => disk.ReadAsync(offset, into, stop);
        public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> from, bool forceUnitAccess, CancellationToken stop) =>
            IsFull ? throw new IOException("no space left on device", NoSpace) : disk.WriteAsync(offset, from, forceUnitAccess, stop);
        public ValueTask WriteZeroesAsync(long offset, long length, bool mayTrim, bool forceUnitAccess, CancellationToken stop) => disk.WriteZeroesAsync(offset, length, mayTrim, forceUnitAccess, stop);
        public ValueTask FlushAsync(CancellationToken stop) => disk.FlushAsync(stop);
        public ValueTask<IReadOnlyList<BlockStatusExtent>> StatusAsync(long offset, long length, CancellationToken stop) => disk.StatusAsync(offset, length, stop);
        public ValueTask DisposeAsync() => disk.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _file.Dispose();
    }
}
