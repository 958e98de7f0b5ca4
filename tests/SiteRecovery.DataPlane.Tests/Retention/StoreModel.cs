using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Export;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;

namespace SiteRecovery.DataPlane.Tests.Retention;

/// <summary>A store and, beside it, what it must hold: every version of the disks as plain arrays.</summary>
internal sealed class StoreModel : IDisposable
{
    internal const int DiskBytes = 192 << 10, OtherBytes = (64 << 10) + 512;
    private static readonly MachineId Machine = new("db1");
    private readonly string _folder = Directory.CreateTempSubdirectory("line").FullName;
    private readonly Random _random;
    private readonly List<RetentionStore> _killed = [];
    // Per position: the disks, and how many of its epoch's writes lie before it.
    private readonly Dictionary<string, (byte[][] Disks, int Writes, long Second)> _positions = [];
    private readonly FullBaseFiles _files = new();
    private readonly Dictionary<int, Branch> _branches = [];
    private readonly StoreOptions _options;
    private readonly Random _encryption;
    private byte[][] _now;
    private Branch _branch;
    private (string Id, StoreView View, byte[][] Disks)? _held;
    private string? _protected;
    // When a position was reached first: at its second time it is another state under the same name, and the slot of the first has none of its own.
    private readonly Dictionary<string, long> _first = [];
    // Positions within a frame, and those at which a stream began: nobody looks for them by their time.
    private readonly HashSet<string> _unsought = [];
    private bool _gap;
    private long _newest, _incarnation, _ordinal, _seconds;

    /// <summary>What one epoch wrote, and where it ended.</summary>
    private sealed record Branch(int Epoch)
    {
        public List<(ushort Disk, long Offset, int Length)> Writes { get; } = [];
        public byte[][] End { get; set; } = [];
        public string? Latest { get; set; }
    }

    internal StoreModel(int seed, bool based)
    {
        _random = new Random(seed);
        // Its own, so that a seed is the same history whether it is encrypted or not.
        _encryption = new Random(seed ^ 0x5eed);
        _options = new StoreOptions
        {
            Keys = new KeyWrappings(TestKeys.File(_folder), [], _encryption.Next(3) == 0 ? TimeSpan.Zero : KeyWrappings.RenewAfterDefault),
            SegmentFramesMax = seed % 4 == 0 ? 1 << 10 : _random.Next(1, 12), BaseBlocksUnflushedMax = seed % 3,
        };
        _now = [new byte[DiskBytes], new byte[OtherBytes]];
        if (based)
        {
            _random.NextBytes(_now[0].AsSpan(16384, 65536 + 100));
            using var file = RealFileSystem.Instance.Open(BasePath, FileOpening.Create);
            file.SetLength(DiskBytes);
            file.Write(16384, _now[0].AsSpan(16384, 65536 + 100));
        }
        _branches[1] = _branch = new Branch(1);
        Store = RetentionStore.Create(Path.Combine(_folder, "store"), Machine, [new DiskGeometry(0, "vda", DiskBytes), new DiskGeometry(1, "vdb", OtherBytes)],
            Epoch.First, _files, TimeProvider.System, based ? new Dictionary<ushort, string> { [0] = BasePath } : null, _options);
        if (_encryption.Next(2) == 0) Store.Encrypt(true);
        if (based) Store.Fold([], new Sequence(_newest = 7), At(++_seconds), "as it was");
        else Start("continue");
        Reached();
    }

    internal RetentionStore Store { get; private set; }
    internal string BasePath => Path.Combine(_folder, "base.raw");

    /// <summary>One thing that may happen to a store.</summary>
    internal void Step()
    {
        if (_encryption.Next(30) == 0) Store.Encrypt(_encryption.Next(3) > 0);
        switch (_random.Next(_gap ? 8 : 14))
        {
            case 7: Maintain(); break;
            case 0: Reopen(kill: _random.Next(2) == 0); break;
            case 1: Fork(); break;
            case 2: Continue(); break;
            case < 7 when _gap: Resynchronize(); break;
            case 3 or 4: Fold(); break;
            case 5: Resynchronize(); break;
            default: Write(); break;
        }
    }

    internal void Reopen(bool kill, bool alsoPoints = true)
    {
        var before = (Store.CurrentEpoch, Store.Held, Store.ConsistentUpTo, Store.Consistent, Store.IsEmpty, Store.CurrentAsOf, alsoPoints ? string.Join(',', Store.Points) : "");
        _held = null;
        if (kill) _killed.Add(Store); // a killed process closes and flushes nothing
        else Store.Dispose();
        if (_random.Next(3) == 0) Rot();
        Store = RetentionStore.Open(Store.Folder, _files, TimeProvider.System, options: _options);
        Assert.Equal(before, (Store.CurrentEpoch, Store.Held, Store.ConsistentUpTo, Store.Consistent, Store.IsEmpty, Store.CurrentAsOf, alsoPoints ? string.Join(',', Store.Points) : ""));
    }

    /// <summary>Everything but the segments and the manifest can be made again from them.</summary>
    private void Rot()
    {
        string[] derived = [.. Directory.GetFiles(Path.Combine(Store.Folder, "log")).Where(f => Path.GetExtension(f) is ".idx" or ".end" or ".map").Append(Path.Combine(Store.Folder, "PROOF")).Where(File.Exists).Order(StringComparer.Ordinal)];
        if (derived.Length == 0) return;
        var file = derived[_random.Next(derived.Length)];
        if (_random.Next(3) == 0)
        {
            File.Delete(file);
            return;
        }
        var bytes = File.ReadAllBytes(file);
        bytes[_random.Next(bytes.Length)] ^= (byte)(1 << _random.Next(8));
        File.WriteAllBytes(file, bytes);
    }

    internal void Fork()
    {
        if (_positions.Count == 0) return;
        var id = _positions.Keys.ElementAt(_random.Next(_positions.Count));
        var from = Store.ResolvePoint(new PointSelector.ById(id))!;
        Begin();
        Store.OpenEpoch(new Epoch(_branch.Epoch), from);
        Store.OpenEpoch(new Epoch(_branch.Epoch), from);
        (_now, _gap, _newest) = (Copy(_positions[id].Disks), false, from.Sequence.Value);
        Reached();
    }

    internal void Continue(int? epoch = null)
    {
        var after = epoch ?? _random.Next(1, _branch.Epoch + 1);
        if (!Store.Knows(new Epoch(after))) return; // all of it is promoted
        Begin();
        Assert.Throws<StaleEpochException>(() => Store.ContinueEpoch(Store.CurrentEpoch, Store.CurrentEpoch));
        Assert.Throws<InvalidDataException>(() => Store.ContinueEpoch(new Epoch(_branch.Epoch), new Epoch(_branch.Epoch)));
        Store.ContinueEpoch(new Epoch(_branch.Epoch), new Epoch(after));
        Store.ContinueEpoch(new Epoch(_branch.Epoch), new Epoch(after));
        // Its sequences are its own: they may begin below those of the epoch it continues.
        (_now, _gap, _newest) = (Copy(_branches[after].End), true, _random.Next(5));
        _branch.Latest = _branches[after].Latest;
        Assert.False(Store.Consistent);
        var goingOn = Header(BatchKind.Marker, _newest) with { Marker = MarkerKind.Tick, Incarnation = Store.Held.Incarnation, Ordinal = Store.Held.Ordinal + 1 };
        Assert.Throws<StreamGapException>(() => Store.Append(BatchCodec.Encode(goingOn, [], [])));
        Assert.Throws<InvalidDataException>(() => Store.Fold([], Sequence.None, default, ""));
        _ordinal = 0;
    }

    /// <summary>
    /// Old positions are given up, at times only at the second or third try; those within the window stay, and beyond it one of each slot. At times the process is killed in the middle.
    /// </summary>
    internal void Maintain()
    {
        var limits = Limits();
        HoldSomething();
        var before = _positions.Keys.Select(id => Store.ResolvePoint(new PointSelector.ById(id))!).ToList();
        (_files.Room, _files.Life) = (_random.Next(2) == 0 ? int.MaxValue : _random.Next(60), _random.Next(2) == 0 ? int.MaxValue : _random.Next(100));
        var died = false;
        try
        {
            Store.Maintain(limits, CancellationToken.None);
        }
        catch (IOException failed) when ((failed.Message.Contains("no space", StringComparison.Ordinal) && _files.Room < 0) || _files.Died)
        {
            died = _files.Died;
        }
        (_files.Room, _files.Life) = (int.MaxValue, int.MaxValue);
        if (died) Reopen(kill: true, alsoPoints: false);
        var newest = Store.CurrentAsOf;
        foreach (var point in before)
        {
            if (Store.ResolvePoint(new PointSelector.ById(point.Id)) is not null) continue;
            var protectedOne = _protected == point.Id;
            Assert.False(protectedOne || (!died && _held?.Id == point.Id), $"{point.Id} was given up, though somebody needs it");
            Assert.True(limits.BytesMax is not null || point.At <= newest - limits.Window, $"{point.Id} was given up, though it lies in the window");
            AssertThinned(point);
            Gone++;
            _positions.Remove(point.Id);
        }
        if (limits.BytesMax is not null) return;
        var left = before.Where(p => _positions.ContainsKey(p.Id)).ToList();
        foreach (var point in before.Where(p => p.At > newest - limits.Longest && !_unsought.Contains(p.Id) && !_positions.ContainsKey(p.Id)))
            Assert.True(limits.SlotAt(point.At, newest) is not { } slot || left.Exists(l => l.Epoch == point.Epoch && At(_first[l.Id]) < slot.End && UntilOf(l) >= slot.End - slot.Every),
                $"nothing is left of the slot of {point.Id} at {point.At:mm:ss} with {limits}, now {newest:mm:ss}");
    }

    /// <summary>One that was reached again, with a label from the first time, is there for both times.</summary>
    private DateTimeOffset UntilOf(RecoveryPoint left) => left.At > At(_positions[left.Id].Second) ? left.At : At(_positions[left.Id].Second);

    /// <summary>How many positions were given up.</summary>
    internal int Gone { get; private set; }

    private RetentionLimits Limits()
    {
        var (window, bytes) = (TimeSpan.FromSeconds(_random.Next(1, 60)), _random.Next(6) == 0 ? 100_000L : (long?)null);
        var tiers = new List<RetentionTier>();
        var (every, keep) = (_random.Next(2, 12), window.TotalSeconds);
        for (var i = _random.Next(4); i > 0; i--)
        {
            keep += _random.Next(1, 80);
            tiers.Add(new RetentionTier(TimeSpan.FromSeconds(every), TimeSpan.FromSeconds(keep)));
            every *= _random.Next(1, 5);
        }
        return new RetentionLimits(window, bytes, RetentionTiers.Of(tiers));
    }

    /// <summary>Somebody looks at a position all the time, somebody else protects one.</summary>
    private void HoldSomething()
    {
        if (_random.Next(3) == 0)
        {
            _held?.View.Release();
            _held = null;
            if (_positions.Count > 0 && _random.Next(2) == 0)
            {
                var id = _positions.Keys.ElementAt(_random.Next(_positions.Count));
                _held = (id, Store.At(Store.ResolvePoint(new PointSelector.ById(id))!), Copy(_positions[id].Disks));
            }
        }
        if (_random.Next(3) != 0) return;
        if (_protected is not null && Store.ResolvePoint(new PointSelector.ById(_protected)) is { } former) Store.Protect(former, keep: false);
        _protected = null;
        if (_positions.Count == 0 || _random.Next(2) == 0) return;
        _protected = _positions.Keys.ElementAt(_random.Next(_positions.Count));
        Store.Protect(Store.ResolvePoint(new PointSelector.ById(_protected))!, keep: true);
    }

    private void AssertThinned(RecoveryPoint point)
    {
        Assert.ThrowsAny<InvalidDataException>(() => Store.At(point));
        if (Store.ThinnedAround(point.Epoch, point.Sequence) is not { } around) return;
        Assert.True(around.Before.Sequence < point.Sequence && around.After.Sequence > point.Sequence);
        Assert.NotNull(Store.ResolvePoint(new PointSelector.ById(around.Before.Id)));
        Assert.NotNull(Store.ResolvePoint(new PointSelector.ById(around.After.Id)));
    }

    internal void Resynchronize()
    {
        Start("gap");
        for (var i = _random.Next(4); i > 0; i--)
        {
            if (_random.Next(2) == 0) Append(BatchKind.Delta, _random.Next(1, 4));
            else Append(BatchKind.Sync, _random.Next(1, 4));
            if (_random.Next(6) == 0) return; // broken off: what follows begins anew
        }
        Mark(MarkerKind.SyncCompleted);
        _gap = false;
        Reached();
    }

    internal void Write()
    {
        if (_ordinal == 0) Start("continue");
        if (_random.Next(4) == 0) Mark(MarkerKind.ApplicationConsistentPoint, "label " + _newest);
        else Append(BatchKind.Delta, _random.Next(1, 4));
        if (_random.Next(4) == 0) Store.Flush();
    }

    /// <summary>A replica runs on the newest position, writes, and what it wrote is taken in, at times only at the second try.</summary>
    internal void Fold()
    {
        var (point, layers, last) = (Store.ConsistentUpTo!, Path.Combine(_folder, "layers-" + _seconds++), _newest + 1 + _random.Next(3));
        using (var replica = new ReplicaLayers(Store, point, layers, RealFileSystem.Instance))
            for (var i = _random.Next(6); i > 0; i--)
            {
                var (disk, offset, length, kind) = NextExtent(100_000);
                if (kind == ExtentKind.Zero) replica.Disks[disk].File.Zero(offset, length);
                else replica.Disks[disk].File.Write(offset, _now[disk].AsSpan((int)offset, length));
                Touch(disk, offset, length, 4096);
            }
        using (var again = new ReplicaLayers(Store, point, layers, RealFileSystem.Instance))
        {
            if (_random.Next(2) == 0)
            {
                var begun = new FoldStream(Store, Header(BatchKind.Marker, _newest) with { Incarnation = Store.Held.Incarnation + 1 });
                begun.Mark(MarkerKind.StreamStart, new Sequence(_newest), "gap"u8);
                foreach (var disk in again.Written) begun.Add(disk with { Runs = disk.Runs.Take(1) });
                if (_random.Next(2) == 0) Reopen(kill: true);
                AssertLatest();
            }
            var folded = Store.Fold(again.Written, new Sequence(last), At(++_seconds), "what it had");
            Assert.Equal(new RecoveryPoint(new Epoch(_branch.Epoch), new Sequence(last), At(_seconds), PointKind.CrashConsistent, "what it had"), folded);
            Assert.Equal(Store.Held, Store.Durable);
        {
            var view = Store.At(folded);
            foreach (var (disk, file) in again.Disks) Assert.True(ReadAll(file).AsSpan().SequenceEqual(ReadAll(view.File(disk.Index))), "the fold is not what the replica had");
            view.Release();
        }
        }
        (_newest, _ordinal) = (last, 0);
        Reached();
    }

    /// <summary>Everything the store says of itself is what the arrays say.</summary>
    internal async Task AssertAsync()
    {
        AssertLatest();
        foreach (var (id, (disks, writes, _)) in _positions)
        {
            var point = Store.ResolvePoint(new PointSelector.ById(id));
            Assert.Equal(id, point?.Id);
            var view = Store.At(point!);
            if (_random.Next(16) == 0) Assert.Equal(ModelRoot.Of(_positions[id].Disks), Store.Prove(point!, CancellationToken.None));
            for (ushort disk = 0; disk < 2; disk++)
            {
                Assert.True(disks[disk].AsSpan().SequenceEqual(ReadAll(view.File(disk))), $"{id} shows other bytes on disk {disk}");
                AssertHoles(disks[disk], view.File(disk));
            }
            view.Release(); // else it holds its position until it is collected
            AssertAfter(point!, _branches[point!.Epoch.Value].Writes[writes..]);
        }
        if (_held is { } held)
            for (ushort disk = 0; disk < 2; disk++) Assert.True(held.Disks[disk].AsSpan().SequenceEqual(ReadAll(held.View.File(disk))), $"the view of {held.Id} that was held shows other bytes on disk {disk}");
        for (ushort disk = 0; disk < 2; disk++)
            Assert.Equal(_now[disk].Chunk(4096).Select(b => b.AsSpan().ContainsAnyExcept((byte)0) ? System.IO.Hashing.XxHash3.HashToUInt64(b) : 0),
                await Store.HashesAsync(disk, 0, 4096, (_now[disk].Length + 4095) / 4096, CancellationToken.None));
        Assert.Equal(!_gap, Store.Consistent);
    }

    public void Dispose()
    {
        Store.Dispose();
        foreach (var store in _killed) store.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private void AssertLatest()
    {
        Assert.Equal(_branch.Latest, Store.ConsistentUpTo?.Id);
        Assert.Equal(_branch.Latest, Store.ResolvePoint(new PointSelector.Latest())?.Id);
    }

    private void AssertAfter(RecoveryPoint point, List<(ushort Disk, long Offset, int Length)> writes)
    {
        bool[][] expected = [new bool[DiskBytes], new bool[OtherBytes]], told = [new bool[DiskBytes], new bool[OtherBytes]];
        foreach (var (disk, offset, length) in writes) expected[disk].AsSpan((int)offset, length).Fill(true);
        foreach (var (disk, offset, length) in Store.ExtentsAfter(point, point.Epoch.Next())) told[disk].AsSpan((int)offset, (int)length).Fill(true);
        for (var disk = 0; disk < 2; disk++) Assert.True(expected[disk].AsSpan().SequenceEqual(told[disk]), $"{point.Id}: what was written after it is told otherwise");
    }

    private static void AssertHoles(byte[] content, IBlockFile file)
    {
        long at = 0;
        while (file.RunAt(at) is { Length: > 0 } run)
        {
            if (run.Hole) Assert.False(content.AsSpan((int)at, (int)run.Length).ContainsAnyExcept((byte)0));
            at += run.Length;
        }
        Assert.Equal(content.Length, at);
    }

    private void Begin()
    {
        (_branch.End, _ordinal) = (Copy(_now), 0);
        _branch = _branches[_branch.Epoch + 1] = new Branch(_branch.Epoch + 1);
    }

    private void Start(string text)
    {
        _ordinal = 0;
        _incarnation = Store.Held.Incarnation + 1;
        if (text == "gap") _gap = true;
        _unsought.Add(RecoveryPoint.IdOf(new Epoch(_branch.Epoch), new Sequence(_newest)));
        Mark(MarkerKind.StreamStart, text);
    }

    private void Mark(MarkerKind marker, string text = "") =>
        Assert.True(Store.Append(BatchCodec.Encode(Header(BatchKind.Marker, _newest) with { Marker = marker }, [], System.Text.Encoding.UTF8.GetBytes(text))));

    private void Append(BatchKind kind, int count)
    {
        var (first, extents, payload) = (_newest + 1, new List<Extent>(), new List<byte>());
        for (; count > 0; count--)
        {
            var (disk, offset, length, how) = NextExtent(20_000);
            extents.Add(new Extent(offset, length, disk, how));
            if (how == ExtentKind.Data) payload.AddRange(_now[disk].AsSpan((int)offset, length));
            Touch(disk, offset, length, 1);
            if (kind != BatchKind.Delta) continue;
            _newest++;
            if (!_gap) Reached();
            if (count > 1) _unsought.Add(RecoveryPoint.IdOf(new Epoch(_branch.Epoch), new Sequence(_newest)));
        }
        Assert.True(Store.Append(Encode(kind, extents, payload, kind == BatchKind.Delta ? first : _newest)));
    }

    private Batch Encode(BatchKind kind, List<Extent> extents, List<byte> payload, long first) =>
        BatchCodec.Compress(BatchCodec.Encode(Header(kind, first), extents.ToArray(), payload.ToArray()), (PayloadCompression)_random.Next(3));

    private BatchHeader Header(BatchKind kind, long first) => new()
    {
        Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = new Epoch(_branch.Epoch), Incarnation = _incarnation, Ordinal = ++_ordinal,
        First = new Sequence(first), Last = new Sequence(Math.Max(first, _newest)), Time = At(++_seconds),
    };

    private static DateTimeOffset At(long seconds) => DateTimeOffset.UnixEpoch.AddSeconds(seconds);

    /// <summary>A range that has changed in the arrays already.</summary>
    private (ushort Disk, long Offset, int Length, ExtentKind Kind) NextExtent(int bytesMax)
    {
        var disk = (ushort)_random.Next(2);
        var length = _random.Next(1, Math.Min(bytesMax, _now[disk].Length));
        var offset = _random.Next(_now[disk].Length - length + 1);
        var kind = _random.Next(4) == 0 ? ExtentKind.Zero : ExtentKind.Data;
        _now[disk].AsSpan(offset, length).Clear();
        if (kind == ExtentKind.Data) _random.NextBytes(_now[disk].AsSpan(offset, _random.Next(length)));
        return (disk, offset, length, kind);
    }

    private void Touch(ushort disk, long offset, int length, int granule)
    {
        var (from, to) = (offset / granule * granule, Math.Min(_now[disk].Length, (offset + length + granule - 1) / granule * granule));
        _branch.Writes.Add((disk, from, (int)(to - from)));
    }

    private void Reached()
    {
        var id = RecoveryPoint.IdOf(new Epoch(_branch.Epoch), new Sequence(_newest));
        _positions[_branch.Latest = id] = (Copy(_now), _branch.Writes.Count, _seconds);
        _first.TryAdd(id, _seconds);
    }

    private static byte[][] Copy(byte[][] disks) => [.. disks.Select(d => d.ToArray())];

    private static byte[] ReadAll(IBlockFile file)
    {
        var bytes = new byte[file.LengthBytes];
        file.Read(0, bytes);
        return bytes;
    }
}
