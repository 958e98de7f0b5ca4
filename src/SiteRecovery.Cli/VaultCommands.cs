using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class VaultCommands
{
    public static readonly Resource Vaults = new("vault", "vaults", [Column.Of("NAME", "name"), Column.Of("SOURCE", "sourceSite"), Column.Of("TARGET", "targetSite")]);

    public static Command Create() => new("vault", "Vaults: source and target site of a pair")
    {
        Vaults.List(), Vaults.ShowWithETag(), Vaults.Delete(),
        Vaults.Put(
            Setting.Of("--source-site", "sourceSite", "Where the machines run", isSite: true),
            Setting.Of("--target-site", "targetSite", "Where their replicas are kept", isSite: true)),
    };
}
