namespace SiteRecovery.DataPlane.Keys;

/// <summary>Encrypts the keys of stores, so that they may lie beside what they encrypt. Safe for concurrent calls.</summary>
public interface IKeyWrapping
{
    /// <summary>Tells what was wrapped by it from what others have wrapped.</summary>
    /// <exception cref="StoreLockedException">It is not to be had.</exception>
    string Name { get; }

    /// <param name="key">32 bytes.</param>
    /// <exception cref="StoreLockedException">It is not to be had.</exception>
    string Wrap(ReadOnlySpan<byte> key);

    /// <exception cref="StoreLockedException">It is not to be had, or did not wrap this.</exception>
    byte[] Unwrap(string wrapped);
}

/// <summary>What a master target wraps the keys of its stores with.</summary>
/// <param name="Current">Null: nothing new can be encrypted.</param>
/// <param name="Former">What was wrapped by one of these is wrapped anew by the current one when it is next opened.</param>
/// <param name="RenewAfter">How old a store's own key may become before what follows is encrypted with another.</param>
public sealed record KeyWrappings(IKeyWrapping? Current, IReadOnlyList<IKeyWrapping> Former, TimeSpan RenewAfter)
{
    public static TimeSpan RenewAfterDefault { get; } = TimeSpan.FromDays(90);

    internal IEnumerable<IKeyWrapping> All => Current is null ? Former : Former.Prepend(Current);
}

/// <summary>What a store holds is encrypted, and its key is not to be had: nothing is damaged, and nothing may be taken for damaged.</summary>
public sealed class StoreLockedException(string message, Exception? inner = null) : Exception(message, inner);
