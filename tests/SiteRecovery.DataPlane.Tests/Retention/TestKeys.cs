using System.Security.Cryptography;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Key files of tests.</summary>
internal static class TestKeys
{
    internal static KeyFile File(string folder, string name = "store.key")
    {
        var path = Path.Combine(folder, name);
        if (!System.IO.File.Exists(path)) System.IO.File.WriteAllText(path, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)) + "\n");
        return new KeyFile(path, RealFileSystem.Instance);
    }
}
