using System.Runtime.CompilerServices;

namespace SiteRecovery.EndToEnd;

/// <summary>
/// The processes that the tests start live for seconds, of which a third goes into compiling what is hot a second time. They are told to put that off; the product's own start is as it was.
/// </summary>
internal static class ShortLives
{
    [ModuleInitializer]
    internal static void CompileOnce()
    {
        Environment.SetEnvironmentVariable("DOTNET_TieredPGO", "0");
        Environment.SetEnvironmentVariable("DOTNET_TC_CallCountingDelayMs", "10000");
    }
}
