using System.Runtime.ExceptionServices;
using SiteRecovery.DataPlane.Keys;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Encryption at rest: what the store holds of its disks can only be read with its keys.</content>
public sealed partial class RetentionStore
{
    private string? _locked; // why it takes no writes though it could

    /// <summary>Whether what is appended is encrypted.</summary>
    public bool Encrypts { get { lock (_gate) return _manifest.Encrypted == true; } }

    /// <summary>What is appended from here on is encrypted, or no longer. Durable when it returns. What is there already stays as it is until it is thinned or promoted.</summary>
    /// <exception cref="StoreLockedException">There is no key: the store takes no writes until it is opened with one.</exception>
    public void Encrypt(bool encrypt)
    {
        // Asked every few seconds: it must neither wait for a proof or for the maintenance, nor throw away how far they have come.
        lock (_gate)
            if (IsAsWished(encrypt)) return;
        Exception? failure = null;
        lock (_proving)
        {
            // The leaves are made anew, as what they are of is.
            GiveUp();
            _leaves?.Dispose();
            _leaves = null;
        }
        lock (_maintaining)
            lock (_gate)
            {
                if (IsAsWished(encrypt)) return;
                // First that it is to be, so that nothing of it is ever written otherwise.
                if (encrypt != _manifest.Encrypted) Save(_manifest with { Encrypted = encrypt });
                if (encrypt) failure = StartEncrypting();
                else (_log.Encrypts, _bases.Encrypts, _locked) = (false, false, null);
            }
        if (failure is not null) ExceptionDispatchInfo.Throw(failure);
    }

    private bool IsAsWished(bool encrypt) => encrypt == (_manifest.Encrypted == true) && _locked is null;

    /// <summary>Fetches the keys of a store that is encrypted, so that it can be read; nothing happens to one that is not.</summary>
    /// <exception cref="StoreLockedException">They are not to be had.</exception>
    public void Unlock() => _keys.Check();

    /// <summary>Removes what a store's keys are kept in: what is encrypted of it can never be read again.</summary>
    internal static void DestroyKeys(string folder, Storage.IFileSystem files) => StoreKeys.Destroy(folder, files);

    /// <returns>Why it cannot: it takes no writes then.</returns>
    private Exception? StartEncrypting()
    {
        (_log.Encrypts, _bases.Encrypts, _locked) = (true, true, null);
        try
        {
            _keys.Renew();
            return null;
        }
        catch (Exception missing) when (missing is StoreLockedException or IOException)
        {
            _locked = missing.Message;
            return missing;
        }
    }

    /// <summary>A key that has become old is replaced; those before it stay, for what they have encrypted.</summary>
    private void RenewKeys()
    {
        _keys.Check();
        if (Encrypts && _locked is null) _keys.Renew();
    }
}
