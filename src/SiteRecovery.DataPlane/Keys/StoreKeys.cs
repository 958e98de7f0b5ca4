using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Keys;

/// <summary>What a part of a store is encrypted as: each has keys of its own, derived from the store's.</summary>
internal enum KeyUse { Frames, Base, Proof }

/// <summary>The keys of one store, wrapped in two files beside what they encrypt: STORE.md, `KEYS.json`. Unwrapped when first needed. Safe for concurrent calls.</summary>
internal sealed class StoreKeys(string folder, IFileSystem files, KeyWrappings? wrappings, TimeProvider time, bool readOnly) : IDisposable
{
    internal static readonly string[] FileNames = ["KEYS.json", "KEYS-2.json"];
    private const int KeyBytes = 32, NonceBytes = 12, TagBytes = 16, CiphersKept = 64;
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<(int Key, KeyUse Use, long Index), ConcurrentBag<AesGcm>> _ciphers = new();
    private readonly ConcurrentDictionary<int, byte[]> _keys = new();
    private KeyRecord[] _records = [];
    private volatile bool _isOpen;
    private volatile int _current; // what is encrypted with; 0: nothing may be yet

    /// <summary>Something of the store is encrypted, or about to be.</summary>
    internal bool Exist => _isOpen || Array.Exists(FileNames, name => files.Exists(Path.Combine(folder, name)));

    /// <summary>There is a key, however old, to encrypt with.</summary>
    internal bool CanEncrypt => _current > 0;

    /// <summary>From here on everything that was encrypted can be read; nothing happens where nothing is.</summary>
    /// <exception cref="StoreLockedException">The keys are not to be had.</exception>
    internal void Check()
    {
        if (_isOpen || !Exist) return;
        lock (_gate) Open();
    }

    /// <summary>There is a key for what comes, young enough and wrapped by the current wrapping. Durable when it returns.</summary>
    /// <exception cref="StoreLockedException">Keys are not to be had.</exception>
    internal void Renew()
    {
        lock (_gate)
        {
            Open();
            if (wrappings is not { Current: { } current, RenewAfter: var renewAfter }) throw new StoreLockedException(Missing);
            var now = time.GetUtcNow();
            if (_records is not [.., var newest] || now - newest.MadeAt >= renewAfter)
            {
                // A copy that the disk does not give now may have a key more, and that must not be written over.
                if (ReadCopies().Unread is { } unread)
                {
                    if (CanEncrypt) return; // the old one serves until the scrub has written that copy anew
                    throw new StoreLockedException($"no key is made for the store in {folder} while a copy of its keys cannot be read: {unread.Message}", unread);
                }
                var key = RandomNumberGenerator.GetBytes(KeyBytes);
                Save([.. _records, new KeyRecord(_records.Length + 1, now, current.Name, current.Wrap(key))]);
                _keys[_records.Length] = key;
            }
            else if (_current != newest.Id) Save(_records); // there is one copy of it
            _current = _records[^1].Id;
        }
    }

    internal ICipher CipherFor(KeyUse use, long index)
    {
        Check();
        return new Cipher(this, use, index);
    }

    /// <summary>The files are written again where one is not what it was. What was wrong with them, if anything was.</summary>
    internal string? Mend()
    {
        lock (_gate)
        {
            if (!_isOpen || _records.Length == 0) return null;
            if (Array.Exists(FileNames, name => ReadOrNull(name)?.Length > _records.Length))
            {
                // It could not be read when the other one was opened.
                _isOpen = false;
                Open();
            }
            if (readOnly || Array.TrueForAll(FileNames, name => ReadOrNull(name) is { } copy && copy.SequenceEqual(_records))) return null;
            var damaged = Array.Find(FileNames, name => ReadOrNull(name) is null && files.Exists(Path.Combine(folder, name)));
            Save(_records);
            return damaged;
        }
    }

    /// <summary>What was encrypted with the keys of a store can never be read again.</summary>
    internal static void Destroy(string folder, IFileSystem files)
    {
        foreach (var path in FileNames.Select(name => Path.Combine(folder, name)).Where(files.Exists))
        {
            // Whoever finds the blocks of the file finds no key in them, where the file system writes in place.
            using (var file = files.Open(path, FileOpening.ReadWrite))
            {
                file.Write(0, new byte[(int)file.LengthBytes]);
                file.Flush();
            }
            files.Delete(path);
        }
        files.FlushFolder(folder);
    }

    private static string Missing => "the store is to be encrypted, and this master target has no key to wrap keys with: set siterecovery.master-target.store-key-file or store-key-command";

    /// <summary>Under the lock.</summary>
    private void Open()
    {
        if (_isOpen) return;
        if (!Exist)
        {
            _isOpen = true;
            return;
        }
        // One may be damaged, or a key or a wrapping behind where saving was cut short.
        var (copies, unread) = ReadCopies();
        if (copies.Count == 0) throw unread as Exception ?? new StoreLockedException($"the keys of the store in {folder} are damaged, both copies: restore {FileNames[0]} from a backup");
        if (wrappings is null) throw new StoreLockedException($"the store in {folder} is encrypted: its keys were wrapped by {copies[0][^1].By}");
        var records = UnwrapOne([.. copies.Where(c => c.Length == copies[0].Length)]);
        _records = records;
        // A damaged one the scrub finds, and says so.
        var isSaved = copies.TrueForAll(c => c.SequenceEqual(records));
        // One that the disk does not give now may have a key more, and is not written over.
        if (!readOnly && unread is null) isSaved = TrySaveAnew(records, isSaved);
        // Also where nothing new is to be encrypted: the base stays what it is. A key of which there is one copy is for reading.
        _current = isSaved || copies.Count < FileNames.Length ? records[^1].Id : copies[^1][^1].Id;
        _isOpen = true;
    }

    /// <summary>All keys of one of several copies that have as many.</summary>
    private KeyRecord[] UnwrapOne(KeyRecord[][] copies)
    {
        StoreLockedException? locked = null;
        foreach (var copy in copies)
        {
            try
            {
                foreach (var record in copy) _keys[record.Id] = Unwrap(record);
                return copy;
            }
            catch (StoreLockedException missing)
            {
                locked ??= missing;
            }
        }
        throw locked!;
    }

    /// <summary>Both copies are what one was, wrapped by the current wrapping. Where there is no room for it, or that is not to be had, everything can be read all the same; tried again when the store is next opened.</summary>
    /// <returns>Whether both have all keys.</returns>
    private bool TrySaveAnew(KeyRecord[] records, bool isSaved)
    {
        try
        {
            if (wrappings!.Current is { } current && Array.Exists(records, r => r.By != current.Name))
                records = [.. records.Select(r => r.By == current.Name ? r : r with { By = current.Name, Wrapped = current.Wrap(_keys[r.Id]) })];
            else if (isSaved) return true;
            Save(records);
            return true;
        }
        catch (Exception notNow) when (notNow is IOException or StoreLockedException)
        {
            return isSaved;
        }
    }

    private byte[] Unwrap(KeyRecord record)
    {
        StoreLockedException? unread = null;
        foreach (var wrapping in wrappings!.All)
        {
            try
            {
                if (wrapping.Name == record.By) return wrapping.Unwrap(record.Wrapped) is { Length: KeyBytes } key ? key : throw new StoreLockedException($"what {record.By} has unwrapped is no key of {KeyBytes} bytes");
            }
            catch (StoreLockedException missing)
            {
                unread ??= missing;
            }
        }
        throw new StoreLockedException($"the store in {folder} is encrypted, and the key that wrapped its keys, {record.By}, is none of this node's{(unread is null ? "" : ": " + unread.Message)}", unread);
    }

    /// <summary>What can be read, the longer first. One that cannot be read keeps nobody from the other: only its newest key may be missing there, and what needs that is refused until the disk gives it.</summary>
    private (List<KeyRecord[]> Copies, IOException? Unread) ReadCopies()
    {
        IOException? unread = null;
        var copies = new List<KeyRecord[]>();
        foreach (var name in FileNames)
        {
            try
            {
                if (Read(name) is not { } found) continue;
                if (copies.Count > 0 && found.Length > copies[0].Length) copies.Insert(0, found);
                else copies.Add(found);
            }
            catch (IOException failure)
            {
                unread ??= failure;
            }
        }
        return (copies, unread);
    }

    private KeyRecord[]? ReadOrNull(string name)
    {
        try
        {
            return Read(name);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private KeyRecord[]? Read(string name)
    {
        try
        {
            return files.TryReadAll(Path.Combine(folder, name)) is { } bytes && JsonSerializer.Deserialize(SealedJson.Open(bytes), StoreKeysJson.Default.StoreKeysFile) is { Version: 1, Keys.Length: > 0 } file ? file.Keys : null;
        }
        catch (Exception damage) when (damage is JsonException or InvalidDataException)
        {
            return null;
        }
    }

    private void Save(KeyRecord[] records)
    {
        var bytes = SealedJson.Seal(JsonSerializer.SerializeToUtf8Bytes(new StoreKeysFile(1, records), StoreKeysJson.Default.StoreKeysFile));
        foreach (var name in FileNames) files.Replace(Path.Combine(folder, name), bytes);
        _records = records;
    }

    private AesGcm Rent(int key, KeyUse use, long index)
    {
        if (_ciphers.TryGetValue((key, use, index), out var free) && free.TryTake(out var cipher)) return cipher;
        if (!_keys.TryGetValue(key, out var own)) throw new InvalidDataException($"it is encrypted with key {key}, which the store does not have");
        return new AesGcm(HKDF.DeriveKey(HashAlgorithmName.SHA256, own, KeyBytes, info: Encoding.ASCII.GetBytes($"SiteRecovery {use} {index}")), TagBytes);
    }

    private void Return(int key, KeyUse use, long index, AesGcm cipher)
    {
        if (_ciphers.Count > CiphersKept) Dispose();
        _ciphers.GetOrAdd((key, use, index), _ => []).Add(cipher);
    }

    /// <summary>Of what is not in use: each holds memory that no collector sees. What is rented meanwhile comes back, and more can be rented.</summary>
    public void Dispose()
    {
        foreach (var name in _ciphers.Keys)
            if (_ciphers.TryRemove(name, out var free))
                while (free.TryTake(out var cipher)) cipher.Dispose();
    }

    private sealed class Cipher(StoreKeys keys, KeyUse use, long index) : ICipher
    {
        public void Encrypt(ReadOnlySpan<byte> known, Span<byte> bytes, Span<byte> seal)
        {
            var key = keys._current is > 0 and var current ? current : throw new StoreLockedException("the store has no key to encrypt with yet");
            BinaryPrimitives.WriteInt32LittleEndian(seal, key);
            RandomNumberGenerator.Fill(seal.Slice(4, NonceBytes));
            var cipher = keys.Rent(key, use, index);
            cipher.Encrypt(seal.Slice(4, NonceBytes), bytes, bytes, seal.Slice(4 + NonceBytes, TagBytes), known);
            keys.Return(key, use, index, cipher);
        }

        public void Decrypt(ReadOnlySpan<byte> known, Span<byte> bytes, ReadOnlySpan<byte> seal)
        {
            var key = BinaryPrimitives.ReadInt32LittleEndian(seal);
            var cipher = keys.Rent(key, use, index);
            try
            {
                cipher.Decrypt(seal.Slice(4, NonceBytes), bytes, seal.Slice(4 + NonceBytes, TagBytes), bytes, known);
            }
            catch (AuthenticationTagMismatchException damage)
            {
                cipher.Dispose();
                throw new InvalidDataException("what was encrypted is not what was written", damage);
            }
            keys.Return(key, use, index, cipher);
        }
    }
}

internal sealed record KeyRecord(int Id, DateTimeOffset MadeAt, string By, string Wrapped);

internal sealed record StoreKeysFile(int Version, KeyRecord[] Keys);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(StoreKeysFile))]
internal sealed partial class StoreKeysJson : JsonSerializerContext;
