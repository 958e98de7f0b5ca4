using System.Security.Cryptography;
using System.Text;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Keys;

/// <summary>A key in a file: 32 bytes, or 64 hex digits, or their base64. Read whenever it is needed, so that a node starts without it.</summary>
public sealed class KeyFile(string path, IFileSystem files) : IKeyWrapping
{
    private const int KeyBytes = 32, NonceBytes = 12, TagBytes = 16;

    public string Name => NameOf(Read());

    public string Wrap(ReadOnlySpan<byte> key)
    {
        var own = Read();
        var wrapped = new byte[NonceBytes + key.Length + TagBytes];
        var nonce = wrapped.AsSpan(0, NonceBytes);
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(own, TagBytes);
        aes.Encrypt(nonce, key, wrapped.AsSpan(NonceBytes, key.Length), wrapped.AsSpan(NonceBytes + key.Length));
        return Convert.ToBase64String(wrapped);
    }

    public byte[] Unwrap(string wrapped)
    {
        try
        {
            var bytes = Convert.FromBase64String(wrapped);
            var key = new byte[bytes.Length - NonceBytes - TagBytes];
            using var aes = new AesGcm(Read(), TagBytes);
            aes.Decrypt(bytes.AsSpan(0, NonceBytes), bytes.AsSpan(NonceBytes, key.Length), bytes.AsSpan(NonceBytes + key.Length), key);
            return key;
        }
        catch (Exception other) when (other is CryptographicException or FormatException or OverflowException)
        {
            throw new StoreLockedException($"the key in {path} is not the one that wrapped the store's", other);
        }
    }

    private static string NameOf(byte[] key) => "file:" + Convert.ToHexStringLower(HKDF.DeriveKey(HashAlgorithmName.SHA256, key, 8, info: "SiteRecovery name of a key"u8.ToArray()));

    private byte[] Read()
    {
        byte[]? bytes;
        try
        {
            bytes = files.TryReadAll(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreLockedException($"the key file {path} cannot be read: {failure.Message}", failure);
        }
        if (bytes is null) throw new StoreLockedException($"there is no key file {path}");
        return bytes.Length == KeyBytes ? bytes : Parse(Encoding.ASCII.GetString(bytes).Trim())
            ?? throw new StoreLockedException($"{path} holds no key: give it 32 bytes, as hex or base64 or as they are (openssl rand -hex 32)");
    }

    private static byte[]? Parse(string text)
    {
        var key = new byte[KeyBytes];
        if (text.Length == 2 * KeyBytes && Convert.FromHexString(text, key, out _, out var hex) == System.Buffers.OperationStatus.Done && hex == KeyBytes) return key;
        return Convert.TryFromBase64String(text, key, out var written) && written == KeyBytes ? key : null;
    }
}
