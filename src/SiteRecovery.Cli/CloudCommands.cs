using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class CloudCommands
{
    public static readonly Resource Clouds = new("cloud", "clouds", [Column.Of("NAME", "name"), Column.Of("SITE", "site"), Column.Of("POLICY", "policy")]);

    public static Command Create() => new("cloud", "Clouds: hosts of a site under one policy")
    {
        Clouds.List(), Clouds.ShowWithETag(), Clouds.Delete(),
        Clouds.Put(
            Setting.Of("--site", "site", "The site of its hosts", isSite: true),
            Setting.Of("--policy", "policy", "The policy of its machines")),
    };
}
