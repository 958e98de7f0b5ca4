using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using SiteRecovery.DataPlane.Blocks;

namespace SiteRecovery.DataPlane.Nbd;

/// <summary>A disk under a name. The server never disposes the device.</summary>
public sealed record NbdExport(string Name, IBlockDevice Device, string Description);

/// <summary>What a server offers; asked anew by every client, so exports come and go while it runs.</summary>
public interface INbdExports
{
    IReadOnlyCollection<string> Names { get; }
    bool TryOpen(string name, [NotNullWhen(true)] out NbdExport? export);
}

/// <summary>Exports by name. The empty name opens the only export where there is exactly one.</summary>
public sealed class NbdExports : INbdExports
{
    private readonly ConcurrentDictionary<string, NbdExport> _exports = new(StringComparer.Ordinal);

    public IReadOnlyCollection<string> Names => _exports.Keys.Order(StringComparer.Ordinal).ToArray();

    public void Add(NbdExport export)
    {
        if (!_exports.TryAdd(export.Name, export)) throw new InvalidOperationException($"the export '{export.Name}' exists already");
    }

    /// <summary>New clients no longer find it; those connected stay until <see cref="NbdServer.CloseConnectionsAsync"/>.</summary>
    public bool Remove(string name) => _exports.TryRemove(name, out _);

    public bool TryOpen(string name, [NotNullWhen(true)] out NbdExport? export)
    {
        if (_exports.TryGetValue(name, out export)) return true;
        if (name.Length > 0) return false;
        var all = _exports.ToArray();
        export = all.Length == 1 ? all[0].Value : null;
        return export is not null;
    }
}
