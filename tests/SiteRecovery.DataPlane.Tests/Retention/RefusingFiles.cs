namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>A disk on which some files find no room.</summary>
internal sealed class RefusingFiles : RealFiles
{
    internal Func<string, bool> Refuses { get; set; } = _ => false;

    /// <summary>It is there, and nobody knows whether it stays: the folder could not be flushed.</summary>
    internal Func<string, bool> Doubts { get; set; } = _ => false;

    /// <summary>The disk does not give it.</summary>
    internal Func<string, bool> Hides { get; set; } = _ => false;

    public override byte[]? TryReadAll(string path) => Hides(path) ? throw new IOException($"Input/output error: {path}") : base.TryReadAll(path);

    public override void Replace(string path, ReadOnlySpan<byte> content)
    {
        if (Refuses(path)) throw new IOException($"No space left on device: {path}");
        base.Replace(path, content);
        if (Doubts(path)) throw new IOException($"Input/output error: {path}");
    }
}
