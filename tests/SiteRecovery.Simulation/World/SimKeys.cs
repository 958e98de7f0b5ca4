using System.Text;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.World;

/// <summary>
/// The key file of a host. Keys and nonces are drawn as they are in production, which no seed decides; so what they are wrapped as is written in digits that JSON never escapes,
/// or a store's key files were now and then some bytes longer, and what rots in them and what still finds room would differ from one run of a seed to the next.
/// </summary>
internal sealed class SimKeys(string path, IFileSystem disk) : IKeyWrapping
{
    private readonly KeyFile _file = new(path, disk);

    public string Name => _file.Name;

    public string Wrap(ReadOnlySpan<byte> key) => Convert.ToHexStringLower(Encoding.ASCII.GetBytes(_file.Wrap(key)));

    public byte[] Unwrap(string wrapped)
    {
        try
        {
            return _file.Unwrap(Encoding.ASCII.GetString(Convert.FromHexString(wrapped)));
        }
        catch (FormatException other)
        {
            throw new StoreLockedException("this is not what the simulator has wrapped", other);
        }
    }
}
