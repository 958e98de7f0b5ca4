namespace SiteRecovery.DataPlane.Retention;

/// <summary>What a promotion needs cannot be read just now; it may go on with the rest.</summary>
internal sealed class NotReadableYetException(IOException inner) : IOException(inner.Message, inner);
