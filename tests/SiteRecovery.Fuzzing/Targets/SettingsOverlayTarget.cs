using SiteRecovery.Node.Settings;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>Variables of the environment and options of the command line over a node's settings, KEY=VALUE a line.</summary>
internal sealed class SettingsOverlayTarget() : TextTarget(
    "SITERECOVERY__", "__", "=", "\n", "siterecovery.", "siterecovery.node.roles=", "siterecovery.node.site=", "\"", "\"\"\"", "\\", "{", "}", "[", "]", ",", "${a}", "#", "//", ":", "+=", "null", "10GiB", "5s", "console", "\u0000", "\u0085")
{
    private const string Prefix = "SITERECOVERY__";
    private readonly SettingsLoader _loader = SettingsLoader.Installed();

    internal override string Name => "settings-over";
    internal override int InputBytesMax => 2 << 10;
    internal override bool AllocatesElsewhere => true; // a parser has a thread of its own
    internal override long AllocatedMax(int inputBytes) => 256L << 20;
    internal override bool Expects(Exception refusal) => refusal is SettingsException;

    internal override IEnumerable<byte[]> Seeds() =>
    [
        "SITERECOVERY__NODE__SITE=lab\nSITERECOVERY__NODE__ROLES=console, process-server\nSITERECOVERY__HTTP__BODY_BYTES_MAX=10MiB\nsiterecovery.ports.http=0"u8.ToArray(),
        "siterecovery.node.site=a\nsiterecovery.node.roles=master-target\nSITERECOVERY__MASTER_TARGET__STORE_KEY_COMMAND=kms --key \"a b\" \\\nSITERECOVERY__CLUSTER__STABLE_AFTER=20s"u8.ToArray(),
        "SITERECOVERY__A{=1\nSITERECOVERY__NODE__NAME=n"u8.ToArray(),
    ];

    protected override void Run(string text)
    {
        var (environment, commandLine) = (new Dictionary<string, string>(), new Dictionary<string, string>());
        foreach (var line in text.Split('\n'))
        {
            var (key, value) = line.IndexOf('=', StringComparison.Ordinal) is var at and >= 0 ? (line[..at], line[(at + 1)..]) : (line, "");
            if (key.StartsWith(Prefix, StringComparison.Ordinal)) environment[key] = value;
            // The command's options are of keys that there are.
            else if (SettingCatalogue.Find(key) is not null) commandLine[key] = value;
        }
        NodeSettings.Of(_loader.Load(null, environment, commandLine), "/nowhere");
    }
}
