namespace SiteRecovery.Node.Settings;

public enum SettingKind { Text, TextList, Count, Bytes, Duration }

/// <summary>One documented setting: what its value must be. Its default stands in hocon/reference.conf.</summary>
/// <param name="Min">In the unit of the kind: bytes, seconds or a count.</param>
public sealed record SettingDefinition(
    string Key, SettingKind Kind, double Min = 0, double Max = double.MaxValue, IReadOnlyList<string>? OneOf = null);

/// <summary>Every <c>siterecovery.*</c> key there is; hocon/reference.conf documents the same set.</summary>
public static class SettingCatalogue
{
    public const string Root = "siterecovery";

    public static IReadOnlyList<string> Roles { get; } = ["configuration-server", "process-server", "master-target", "console"];

    public static IReadOnlyList<SettingDefinition> All { get; } =
    [
        new("siterecovery.node.name", SettingKind.Text),
        new("siterecovery.node.site", SettingKind.Text),
        new("siterecovery.node.roles", SettingKind.TextList, OneOf: Roles),
        new("siterecovery.node.address", SettingKind.Text),
        new("siterecovery.ports.http", SettingKind.Count, 0, 65535),
        new("siterecovery.ports.cluster", SettingKind.Count, 0, 65535),
        new("siterecovery.ports.data", SettingKind.Count, 0, 65535),
        new("siterecovery.ports.agent", SettingKind.Count, 0, 65535),
        new("siterecovery.advertised.address", SettingKind.Text),
        new("siterecovery.advertised.http-port", SettingKind.Count, 0, 65535),
        new("siterecovery.advertised.cluster-port", SettingKind.Count, 0, 65535),
        new("siterecovery.advertised.data-port", SettingKind.Count, 0, 65535),
        new("siterecovery.advertised.agent-port", SettingKind.Count, 0, 65535),
        new("siterecovery.http.body-bytes-max", SettingKind.Bytes, 1 << 10, 64 << 20),
        new("siterecovery.http.connections-max", SettingKind.Count, 16, 65536),
        new("siterecovery.http.wait-max", SettingKind.Duration, 1, 300),
        new("siterecovery.http.list-items-max", SettingKind.Count, 1, 5000),
        new("siterecovery.http.ask-timeout", SettingKind.Duration, 1, 120),
        new("siterecovery.cluster.stable-after", SettingKind.Duration, 1, 600),
        new("siterecovery.cluster.heartbeat-pause", SettingKind.Duration, 1, 120),
        new("siterecovery.process-server.spool-bytes-max", SettingKind.Bytes, 64 << 20, 1L << 50),
        new("siterecovery.master-target.store-key-file", SettingKind.Text),
        new("siterecovery.master-target.store-key-command", SettingKind.Text),
        new("siterecovery.master-target.former-store-key-files", SettingKind.TextList),
        new("siterecovery.master-target.store-key-renew-after", SettingKind.Duration, 3600, 3660 * 86400.0),
        new("siterecovery.master-target.socket-group", SettingKind.Text),
        new("siterecovery.master-target.scrub-pause", SettingKind.Duration, 1, 3660 * 86400.0),
        new("siterecovery.hypervisor.uri", SettingKind.Text),
        new("siterecovery.hypervisor.failover-network", SettingKind.Text),
        new("siterecovery.hypervisor.qemu-accelerators", SettingKind.Text),
        new("siterecovery.hypervisor.boot-folders", SettingKind.TextList),
        new("siterecovery.persistence.provider", SettingKind.Text, OneOf: ["sqlite", "postgresql", "sqlserver"]),
        new("siterecovery.persistence.connection-string-file", SettingKind.Text),
        new("siterecovery.pki.join-token-validity", SettingKind.Duration, 60, 7 * 86400),
        new("siterecovery.log.level", SettingKind.Text, OneOf: ["trace", "debug", "information", "warning", "error"]),
    ];

    public static SettingDefinition? Find(string key) => All.FirstOrDefault(s => s.Key == key);

    /// <summary>The documented key with the fewest edits to what was written.</summary>
    public static string Nearest(string key) => All.MinBy(s => Edits(s.Key, key))!.Key;

    // Levenshtein, one row.
    private static int Edits(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[^1];
    }
}
