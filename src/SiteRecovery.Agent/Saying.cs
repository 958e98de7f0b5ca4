namespace SiteRecovery.Agent;

internal static class Saying
{
    /// <summary>The disk that a log lies on may be full, and whoever read it gone: nothing that the agent does for its machines may hang on that.</summary>
    internal static void Say(this TextWriter log, string text)
    {
        try
        {
            log.WriteLine(text);
        }
        catch (Exception unheard) when (unheard is IOException or UnauthorizedAccessException or ObjectDisposedException)
        {
            // There is nobody else to tell.
        }
    }
}
