using System.CommandLine;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>What the shell offers after Tab, asked of the cluster. Without an answer in time it offers nothing, and never an error.</summary>
internal static class NamesForCompletion
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    public static IEnumerable<string> Of(Resource resource, ParseResult arguments, string property = "name")
    {
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            using var api = new ApiClient(ConnectionOptions.Resolve(arguments));
            // The parser asks for completions synchronously; nothing else runs in this process.
            return [.. Task.Run(() => api.ListAsync(resource.Path, patience.Token)).GetAwaiter().GetResult().Select(i => i.At(property).Text())];
        }
        catch (Exception e) when (e is CommandProblem or OperationCanceledException)
        {
            return [];
        }
    }
}
