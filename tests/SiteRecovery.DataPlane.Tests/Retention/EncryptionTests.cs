using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.MasterTarget;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>Encryption at rest: nothing of the disks is in the files, and with the key everything is as without. StoreModel has the random histories.</summary>
public sealed class EncryptionTests : IDisposable
{
    private const int DiskBytes = 1 << 20;
    private static readonly MachineId Machine = new("db1");
    private static readonly byte[] Secret = "the sum of all invoices is 4711 "u8.ToArray();
    private readonly string _folder = Directory.CreateTempSubdirectory("encryption").FullName;
    private readonly byte[] _now = new byte[DiskBytes];
    private long _ordinal, _sequence;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(PayloadCompression.None)]
    [InlineData(PayloadCompression.Zstd)]
    public void Nothing_of_the_disks_lies_in_the_files_in_log_base_or_proof(PayloadCompression compression)
    {
        using (var store = Filled(Keys(), encrypt: true, compression))
        {
            store.Prove(store.ConsistentUpTo!, CancellationToken.None);
            Assert.Empty(Found());
            // Nor what would confirm a guess: the hashes of its blocks.
            AssertNoHashes();
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(10), null), CancellationToken.None);
            Assert.NotEmpty(Directory.GetFiles(Path.Combine(Store, "base")));
            Assert.Empty(Found());
            AssertNoHashes();
            AssertHolds(store);
            Assert.Empty(store.Verify());
        }
        using var again = Open(Keys());
        AssertHolds(again);
        using var plain = Filled(Keys(), encrypt: false, PayloadCompression.None, "other");
        Assert.NotEmpty(Found("other")); // that the search finds what is there
    }

    [Fact]
    public void A_store_without_its_key_is_locked_and_not_damaged()
    {
        Filled(Keys(), encrypt: true).Dispose();
        foreach (var wrong in (KeyWrappings?[])[null, new(TestKeys.File(_folder, "other.key"), [], KeyWrappings.RenewAfterDefault), new(new KeyFile(Path.Combine(_folder, "none.key"), RealFileSystem.Instance), [], default)])
        {
            using var store = Open(wrong);
            Assert.Contains("encrypted", Assert.Throws<StoreLockedException>(() => store.At(store.ConsistentUpTo!)).Message, StringComparison.Ordinal);
            Assert.ThrowsAny<StoreLockedException>(() => store.HashesAsync(0, 0, 4096, 4, default).AsTask().GetAwaiter().GetResult());
            Assert.Throws<StoreLockedException>(() => store.Scrub(1 << 20, default));
            Assert.Throws<StoreLockedException>(() => store.Maintain(null, default));
            AssertRefuses(store);
            Assert.NotNull(store.FailedReason);
            Assert.Empty(store.Rot);
            Assert.Empty(store.DamageOfNewest());
            Assert.Equal(new Sequence(40), store.ConsistentUpTo!.Sequence); // where it stands is no secret
        }
        using var right = Open(Keys());
        Assert.Null(right.FailedReason);
        AssertHolds(right);
    }

    [Fact]
    public void A_key_that_wraps_is_replaced_without_writing_the_store_anew()
    {
        Filled(Keys(), encrypt: true).Dispose();
        var log = File.ReadAllBytes(Segment());
        var next = TestKeys.File(_folder, "next.key");
        using (var store = Open(new KeyWrappings(next, [TestKeys.File(_folder)], KeyWrappings.RenewAfterDefault))) AssertHolds(store);
        Assert.Equal(log, File.ReadAllBytes(Segment()));
        // The former one is needed no more, and opens nothing any more.
        using (var store = Open(new KeyWrappings(next, [], KeyWrappings.RenewAfterDefault))) AssertHolds(store);
        using (var store = Open(Keys())) Assert.Throws<StoreLockedException>(() => store.At(store.ConsistentUpTo!));
    }

    [Fact]
    public void A_stores_own_key_is_renewed_when_it_is_old_and_what_came_before_stays_readable()
    {
        using (var store = Filled(new KeyWrappings(TestKeys.File(_folder), [], TimeSpan.Zero), encrypt: true))
        {
            store.Maintain(null, CancellationToken.None);
            for (var i = 0; i < 5; i++) store.Append(Delta(i * 8192, 4096, PayloadCompression.None));
            store.Maintain(null, CancellationToken.None);
            AssertHolds(store);
        }
        Assert.True(File.ReadAllText(Path.Combine(Store, "KEYS.json")).Split("\"wrapped\"").Length > 3);
        using var again = Open(Keys());
        AssertHolds(again);
    }

    [Fact]
    public void A_command_wraps_keys_as_a_key_management_service_would()
    {
        var command = Path.Combine(_folder, "kms.sh");
        // rot13 on base64 is no secret, but it is another process that must be asked.
        File.WriteAllText(command, $"#!/bin/sh\nread line\nif [ -e {_folder}/down ]; then echo 'the service is down' >&2; exit 7; fi\necho \"$1\" >> {_folder}/asked\necho \"$line\" | tr A-Za-z N-ZA-Mn-za-m\n");
        var keys = new KeyWrappings(new KeyCommand("sh " + command), [TestKeys.File(_folder)], KeyWrappings.RenewAfterDefault);
        Filled(keys, encrypt: true).Dispose();
        File.Create(Path.Combine(_folder, "down")).Dispose();
        using (var store = Open(keys))
        {
            var locked = Assert.Throws<StoreLockedException>(() => store.At(store.ConsistentUpTo!));
            Assert.Contains("the service is down", locked.Message, StringComparison.Ordinal);
            File.Delete(Path.Combine(_folder, "down"));
            AssertHolds(store); // it is asked again
        }
        Assert.Equal(["wrap", "unwrap"], File.ReadAllLines(Path.Combine(_folder, "asked")).Distinct());
        var missing = Assert.Throws<StoreLockedException>(() => new KeyCommand("/nowhere/kms").Wrap(new byte[32]));
        Assert.Contains("/nowhere/kms", missing.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Removing_a_machine_destroys_its_key_before_its_files_are_gone()
    {
        var files = new StuckDeletion();
        await using var receiver = new StoreReceiver(_folder, files, TimeProvider.System, options: new StoreOptions { Keys = Keys() });
        receiver.Hold(Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, encrypt: true);
        Fill(receiver.StoreOf(Machine), PayloadCompression.None);
        receiver.StoreOf(Machine).Flush();
        files.IsStuck = true;
        await Assert.ThrowsAsync<IOException>(() => receiver.RemoveAsync(Machine, CancellationToken.None));
        // What is left of it cannot be read, not even by whoever has the master target's key.
        var left = Path.Combine(_folder, "db1~removed");
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(left, "log"), "*.seg"));
        Assert.Empty(Directory.GetFiles(left, "KEYS*"));
        using var store = RetentionStore.Open(left, RealFileSystem.Instance, TimeProvider.System, readOnly: true, new StoreOptions { Keys = Keys() });
        var view = store.At(store.ConsistentUpTo!);
        Assert.Throws<IOException>(() => view.File(0).Read(0, new byte[4096]));
    }

    [Fact]
    public void A_store_that_shall_be_encrypted_and_cannot_takes_nothing_until_it_can()
    {
        using (var store = Filled(null, encrypt: false))
        {
            Assert.Contains("store-key-file", Assert.Throws<StoreLockedException>(() => store.Encrypt(true)).Message, StringComparison.Ordinal);
            AssertRefuses(store);
        }
        using (var store = Open(null)) Assert.Contains("store-key-file", store.FailedReason, StringComparison.Ordinal);
        using var able = Open(Keys());
        Assert.True(able.Encrypts);
        able.Append(Delta(8192, 512, PayloadCompression.None));
        AssertHolds(able);
        able.Encrypt(false);
        able.Append(Delta(16384, 512, PayloadCompression.None));
        AssertHolds(able);
    }

    [Fact]
    public void A_base_that_is_encrypted_stays_so_when_the_policy_no_longer_asks_for_it()
    {
        using (var store = Filled(Keys(), encrypt: true))
        {
            store.Maintain(new RetentionLimits(TimeSpan.FromSeconds(10), null), CancellationToken.None);
            store.Encrypt(false);
        }
        using var again = Open(Keys());
        for (var i = 0; i < 30; i++) again.Append(Delta(i * 20480, 4096, PayloadCompression.None));
        again.Maintain(new RetentionLimits(TimeSpan.FromSeconds(10), null), CancellationToken.None);
        AssertHolds(again);
        Assert.Empty(Directory.GetFiles(Path.Combine(Store, "base"), "*.raw"));
        Assert.DoesNotContain(Found(), f => f.Contains("/base/", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("KEYS.json")]
    [InlineData("KEYS-2.json")]
    public void One_damaged_copy_of_the_keys_costs_nothing_and_is_reported_and_written_again(string name)
    {
        Filled(Keys(), encrypt: true).Dispose();
        var (path, bytes) = (Path.Combine(Store, name), File.ReadAllBytes(Path.Combine(Store, name)));
        File.WriteAllBytes(path, [.. bytes[..40], (byte)(bytes[40] ^ 1), .. bytes[41..]]);
        using var store = Open(Keys());
        AssertHolds(store);
        store.Scrub(long.MaxValue, CancellationToken.None);
        Assert.Contains(store.Rot, d => d.File == path);
        Assert.Equal(bytes, File.ReadAllBytes(path));
        store.Scrub(long.MaxValue, CancellationToken.None);
        Assert.Empty(store.Rot);
    }

    [Fact]
    public void Whoever_changes_a_stored_block_is_found_out_though_he_mends_the_checksums()
    {
        Filled(Keys(), encrypt: true).Dispose();
        var (path, bytes) = (Segment(), File.ReadAllBytes(Segment()));
        // The frame's own checksum has no key: made right again, only the seal of the encryption is wrong.
        var at = 32 + BatchCodec.HeaderBytes; // behind the stream start, which has a payload of 8 bytes
        while (BatchCodec.ReadHeader(bytes.AsSpan(at = NextFrame(bytes, at == 32 + BatchCodec.HeaderBytes ? 32 : at))) is { Kind: BatchKind.Marker }) { }
        var header = BatchCodec.ReadHeader(bytes.AsSpan(at));
        Assert.True(header.Encrypted);
        bytes[at + BatchCodec.HeaderBytes + header.ExtentCount * BatchCodec.ExtentBytes] ^= 1;
        var hash = new System.IO.Hashing.XxHash3();
        hash.Append(bytes.AsSpan(at, 80));
        hash.Append(bytes.AsSpan(at + 88, header.FrameBytes - 88));
        BitConverter.TryWriteBytes(bytes.AsSpan(at + 80), hash.GetCurrentHashAsUInt64());
        File.WriteAllBytes(path, bytes);
        using var store = Open(Keys());
        var point = store.ResolvePoint(new PointSelector.ById("e1-s1"))!;
        Assert.Contains("not what was written", Assert.Throws<IOException>(() => store.At(point).File(0).Read(0, new byte[DiskBytes])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_command_that_leaves_something_running_is_not_waited_for_for_ever() => Assert.Contains("holds its output open",
        Assert.Throws<StoreLockedException>(() => new KeyCommand("sh -c 'sleep 20 & echo abc' #", TimeSpan.FromMilliseconds(500)).Wrap(new byte[32])).Message, StringComparison.Ordinal);

    [Fact]
    public async Task A_store_whose_key_service_hangs_keeps_no_other_store_waiting()
    {
        using (var store = Filled(Keys(), encrypt: true, name: "a")) store.Flush();
        using (var store = Filled(null, encrypt: false, name: "b")) store.Flush();
        using var hanging = new HangingKey(TestKeys.File(_folder));
        await using var receiver = new MasterTarget.StoreReceiver(_folder, RealFileSystem.Instance, TimeProvider.System, options: new StoreOptions { Keys = new KeyWrappings(hanging, [], KeyWrappings.RenewAfterDefault) });
        var locked = Task.Run(() => receiver.StoreOf(new MachineId("a")));
        Assert.True(hanging.Asked.Wait(TimeSpan.FromSeconds(30)));
        AssertHolds(await Task.Run(() => receiver.StoreOf(new MachineId("b"))).WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.False(locked.IsCompleted);
        hanging.Answers.Set();
        AssertHolds(await locked.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    private sealed class HangingKey(KeyFile key) : IKeyWrapping, IDisposable
    {
        internal ManualResetEventSlim Asked { get; } = new();
        internal ManualResetEventSlim Answers { get; } = new();
        public string Name => key.Name;
        public string Wrap(ReadOnlySpan<byte> bytes) => key.Wrap(bytes);

        public byte[] Unwrap(string wrapped)
        {
            Asked.Set();
            Answers.Wait();
            return key.Unwrap(wrapped);
        }

        public void Dispose()
        {
            Answers.Set();
            Asked.Dispose();
        }
    }

    [Fact]
    public void Both_copies_of_the_keys_are_wrapped_anew_also_where_that_was_cut_short_between_them()
    {
        var (files, former) = (new RefusingFiles(), Keys());
        Filled(former, encrypt: true).Dispose();
        var next = former with { Current = TestKeys.File(_folder, "next.key"), Former = [former.Current!] };
        files.Refuses = path => path.EndsWith("KEYS-2.json", StringComparison.Ordinal);
        using (var store = Open(next, files)) AssertHolds(store);
        using (var store = Open(next)) AssertHolds(store);
        Assert.Equal(File.ReadAllBytes(Path.Combine(Store, "KEYS.json")), File.ReadAllBytes(Path.Combine(Store, "KEYS-2.json")));
        // The former is gone, and the other copy rots.
        File.WriteAllBytes(Path.Combine(Store, "KEYS.json"), [1, 2, 3]);
        using var again = Open(next with { Former = [] });
        AssertHolds(again);
    }

    [Fact]
    public void A_key_that_was_saved_once_is_saved_twice_before_anything_is_encrypted_with_it()
    {
        var (files, keys) = (new RefusingFiles(), Keys());
        using (var store = Filled(keys with { RenewAfter = TimeSpan.Zero }, encrypt: true)) store.Flush();
        files.Refuses = path => path.EndsWith("KEYS-2.json", StringComparison.Ordinal);
        Record.Exception(() => Open(keys with { RenewAfter = TimeSpan.Zero }, files).Dispose());
        Assert.NotEqual(File.ReadAllBytes(Path.Combine(Store, "KEYS.json")), File.ReadAllBytes(Path.Combine(Store, "KEYS-2.json")));
        files.Refuses = _ => false;
        using (var store = Open(keys))
            for (var i = 0; i < 25; i++) store.Append(Delta(i * 20480, 20480, PayloadCompression.None));
        Assert.Equal(File.ReadAllBytes(Path.Combine(Store, "KEYS.json")), File.ReadAllBytes(Path.Combine(Store, "KEYS-2.json")));
        File.WriteAllBytes(Path.Combine(Store, "KEYS.json"), [1, 2, 3]);
        using var again = Open(keys with { RenewAfter = TimeSpan.Zero });
        again.Maintain(null, CancellationToken.None);
        AssertHolds(again);
    }

    [Fact]
    public void While_a_key_can_be_saved_only_once_nothing_is_encrypted_with_it()
    {
        var (files, keys) = (new RefusingFiles(), Keys());
        using (var store = Filled(keys, encrypt: true)) store.Flush();
        files.Refuses = path => path.EndsWith("KEYS-2.json", StringComparison.Ordinal);
        Record.Exception(() => Open(keys with { RenewAfter = TimeSpan.Zero }, files).Dispose());
        using (var store = Open(keys, files))
        {
            Record.Exception(() =>
            {
                for (var i = 0; i < 25; i++) store.Append(Delta(i * 20480, 20480, PayloadCompression.None));
            });
            Record.Exception(() => store.Maintain(null, CancellationToken.None));
        }
        File.WriteAllBytes(Path.Combine(Store, "KEYS.json"), [1, 2, 3]);
        using var again = Open(keys with { RenewAfter = TimeSpan.Zero });
        var view = again.At(again.ConsistentUpTo!);
        view.File(0).Read(0, new byte[DiskBytes]);
        Assert.Empty(again.Verify());
    }

    [Fact]
    public void While_a_copy_of_the_keys_cannot_be_read_the_old_key_serves_and_no_other_takes_its_place()
    {
        var (files, keys) = (new RefusingFiles(), Keys());
        using (var store = Filled(keys, encrypt: true)) store.Flush();
        var before = File.ReadAllBytes(Path.Combine(Store, "KEYS.json"));
        files.Hides = path => path.EndsWith("KEYS.json", StringComparison.Ordinal);
        using (var store = Open(keys with { RenewAfter = TimeSpan.Zero }, files))
        {
            for (var i = 0; i < 25; i++) Assert.True(store.Append(Delta(i * 20480, 20480, PayloadCompression.None)));
            store.Maintain(null, CancellationToken.None);
            AssertHolds(store);
        }
        Assert.Equal(before, File.ReadAllBytes(Path.Combine(Store, "KEYS.json")));
        using var again = Open(keys);
        AssertHolds(again);
    }

    [Fact]
    public void A_store_can_be_read_where_its_keys_cannot_be_wrapped_anew()
    {
        var keys = Keys();
        Filled(keys, encrypt: true).Dispose();
        using var again = Open(keys with { Current = new KeyCommand("false"), Former = [keys.Current!] });
        AssertHolds(again);
    }

    private string Store => Path.Combine(_folder, "store");

    private static int NextFrame(byte[] bytes, int at) => at + BatchCodec.ReadHeader(bytes.AsSpan(at)).FrameBytes;

    private string Segment() => Directory.GetFiles(Path.Combine(Store, "log"), "*.seg").Order(StringComparer.Ordinal).First();

    private KeyWrappings Keys() => new(TestKeys.File(_folder), [], KeyWrappings.RenewAfterDefault);

    private RetentionStore Open(KeyWrappings? keys, IFileSystem? files = null) => RetentionStore.Open(Store, files ?? RealFileSystem.Instance, TimeProvider.System, options: new StoreOptions { SegmentFramesMax = 10, Keys = keys });

    private RetentionStore Filled(KeyWrappings? keys, bool encrypt, PayloadCompression compression = PayloadCompression.None, string name = "store")
    {
        var store = RetentionStore.Create(Path.Combine(_folder, name), Machine, [new DiskGeometry(0, "vda", DiskBytes)], Epoch.First, RealFileSystem.Instance, TimeProvider.System,
            options: new StoreOptions { SegmentFramesMax = 10, Keys = keys });
        if (encrypt) store.Encrypt(true);
        Fill(store, compression);
        return store;
    }

    private void Fill(RetentionStore store, PayloadCompression compression)
    {
        (_ordinal, _sequence) = (0, 0);
        Array.Clear(_now);
        store.Append(BatchCodec.Encode(Header(BatchKind.Marker, 0) with { Marker = MarkerKind.StreamStart }, [], "continue"u8));
        for (var i = 0; i < 40; i++) store.Append(Delta(i * 13 % 32 * 20480, 20480, compression));
    }

    private Batch Delta(int offset, int length, PayloadCompression compression)
    {
        for (var at = 0; at < length; at += Secret.Length) Secret.AsSpan(0, Math.Min(Secret.Length, length - at)).CopyTo(_now.AsSpan(offset + at));
        BitConverter.TryWriteBytes(_now.AsSpan(offset), ++_sequence);
        return BatchCodec.Compress(BatchCodec.Encode(Header(BatchKind.Delta, _sequence), [new Extent(offset, length, 0, ExtentKind.Data)], _now.AsSpan(offset, length)), compression);
    }

    private BatchHeader Header(BatchKind kind, long last) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = Epoch.First, Incarnation = 1, Ordinal = ++_ordinal,
        First = new Sequence(last), Last = new Sequence(last), Time = DateTimeOffset.UnixEpoch.AddSeconds(_ordinal),
    };

    private void AssertHolds(RetentionStore store)
    {
        var bytes = new byte[DiskBytes];
        var view = store.At(store.ConsistentUpTo!);
        view.File(0).Read(0, bytes);
        view.Release();
        Assert.Equal(_now, bytes);
    }

    private void AssertRefuses(RetentionStore store)
    {
        var before = _now.ToArray();
        Assert.Throws<IOException>(() => store.Append(Delta(0, 512, PayloadCompression.None)));
        (_sequence, _ordinal) = (_sequence - 1, _ordinal - 1);
        before.CopyTo(_now, 0);
    }

    private IEnumerable<string> Found(string name = "store") => Files(name).Where(f => File.ReadAllBytes(f).AsSpan().IndexOf(Secret) >= 0);

    private void AssertNoHashes()
    {
        HashSet<ulong> hashes = [];
        foreach (var size in (int[])[4096, 65536])
            for (var at = 0; at < DiskBytes; at += size) hashes.Add(System.IO.Hashing.XxHash3.HashToUInt64(_now.AsSpan(at, size)));
        foreach (var file in Files("store"))
        {
            var words = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(File.ReadAllBytes(file));
            foreach (var word in words) Assert.False(hashes.Contains(word), $"{file} has the hash of a block");
        }
    }

    private string[] Files(string name) => Directory.GetFiles(Path.Combine(_folder, name), "*", SearchOption.AllDirectories);

    /// <summary>A real disk on which folders cannot be deleted.</summary>
    private sealed class StuckDeletion : IFileSystem
    {
        private static readonly IFileSystem Disk = RealFileSystem.Instance;
        public bool IsStuck { get; set; }
        public IBlockFile Open(string path, FileOpening how) => Disk.Open(path, how);
        public bool Exists(string path) => Disk.Exists(path);
        public bool FolderExists(string path) => Disk.FolderExists(path);
        public void CreateDirectory(string path) => Disk.CreateDirectory(path);
        public IReadOnlyList<string> List(string folder) => Disk.List(folder);
        public IReadOnlyList<string> Folders(string folder) => Disk.Folders(folder);
        public byte[]? TryReadAll(string path) => Disk.TryReadAll(path);
        public void Replace(string path, ReadOnlySpan<byte> content) => Disk.Replace(path, content);
        public void Delete(string path) => Disk.Delete(path);
        public void Rename(string from, string to) => Disk.Rename(from, to);
        public void FlushFolder(string folder) => Disk.FlushFolder(folder);
        public long FreeBytes(string path) => Disk.FreeBytes(path);
        public void DeleteFolder(string path)
        {
            if (IsStuck && Directory.Exists(path)) throw new IOException("the folder cannot be deleted");
            Disk.DeleteFolder(path);
        }
    }
}
