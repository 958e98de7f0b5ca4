using System.Text.RegularExpressions;

namespace SiteRecovery.Cli.Output;

/// <summary>What a node says is to be done, in the words of its HTTP API, said in srctl's. What is not known here stays as it is: nodes of other versions say other things.</summary>
internal static partial class SrctlTerms
{
    public static string Of(string remedy)
    {
        remedy = PartOfMachine().Replace(remedy, part => part.Groups["what"].Value == "exports" ? $"'srctl machine exports {part.Groups["name"]}'" : $"'srctl recovery-point list {part.Groups["name"]}'");
        remedy = MachinesOfAgent().Replace(remedy, part => $"'srctl agent machines {part.Groups["name"]}'");
        remedy = List().Replace(remedy, list => $"'srctl {Singular(list.Groups["noun"].Value)} list'");
        remedy = Acknowledge().Replace(remedy, codes => $"repeat it with --acknowledge {codes.Groups["codes"].Value.Replace(",", "", StringComparison.Ordinal)}");
        remedy = Property().Replace(remedy, named => $"--{named.Groups["name"]} {named.Groups["name"].Value.ToUpperInvariant()}");
        return remedy.Replace("Send 'Authorization: Bearer TOKEN'", "Name a file with a token that is good here, by --token-file F, SRCTL_TOKEN_FILE or a context", StringComparison.Ordinal);
    }

    private static string Singular(string nouns) => nouns.EndsWith("ies", StringComparison.Ordinal) ? nouns[..^3] + "y" : nouns[..^1];

    [GeneratedRegex(@"GET /api/v1/machines/(?<name>[^/\s]+)/(?<what>recovery-points|exports)\b")]
    private static partial Regex PartOfMachine();

    [GeneratedRegex(@"GET /api/v1/agents/(?<name>[^/\s]+)/machines\b")]
    private static partial Regex MachinesOfAgent();

    [GeneratedRegex(@"GET /api/v1/(?<noun>sites|nodes|vaults|policies|clouds|agents|machines|network-mappings|jobs|tokens)\b(?!/)")]
    private static partial Regex List();

    [GeneratedRegex(@"repeat it with acknowledge: (?<codes>\w+(, \w+)*)")]
    private static partial Regex Acknowledge();

    [GeneratedRegex("""\{"(?<name>\w+)": "\.\.\."\}""")]
    private static partial Regex Property();
}
