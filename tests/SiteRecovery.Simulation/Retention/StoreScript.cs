using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Keys;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;

namespace SiteRecovery.Simulation.Retention;

/// <summary>What happens to a store, out of a seed and told in advance: each step with what it must come to.</summary>
internal sealed partial class StoreScript
{
    internal const int DiskBytes = 48 << 10, OtherBytes = (20 << 10) + 512;
    internal static readonly MachineId Machine = new("db1");
    internal static readonly DiskGeometry[] Geometry = [new(0, "vda", DiskBytes), new(1, "vdb", OtherBytes)];
    private const int YoungSeconds = 6;
    private readonly Random _random;
    private readonly List<StoreStep> _steps = [];
    private readonly List<Reached> _young = [];
    private readonly HashSet<string> _protected = [];
    private StoreState _now = new() { Disks = [new byte[DiskBytes], new byte[OtherBytes]] };

    /// <param name="steps">At least.</param>
    internal StoreScript(int seed, int steps)
    {
        _random = new Random(seed);
        // Its own, so that a seed is the same history whether it is encrypted or not.
        var encryption = new Random(seed ^ 0x5eed);
        Options = new StoreOptions { SegmentFramesMax = _random.Next(2, 8), BaseBlocksUnflushedMax = seed % 3, Keys = new KeyWrappings(SimKey.Wrapping, [], encryption.Next(3) == 0 ? TimeSpan.Zero : KeyWrappings.RenewAfterDefault) };
        Add("create", run => run.Create(), _now, s => s with { Durable = true });
        if (encryption.Next(2) == 0) Encrypt(true);
        Start("continue");
        while (_steps.Count < steps)
        {
            if (encryption.Next(25) == 0) Encrypt(encryption.Next(3) > 0);
            Next();
        }
        Flush();
    }

    internal IReadOnlyList<StoreStep> Steps => _steps;
    internal StoreOptions Options { get; }

    private void Encrypt(bool encrypt) => Add(encrypt ? "encrypt" : "encrypt no longer", run => run.Store.Encrypt(encrypt), _now);

    private void Next()
    {
        if (_now.Gap)
        {
            Resynchronize();
            return;
        }
        switch (_random.Next(26))
        {
            case 0: Fork(); break;
            case 1: Continue(); break;
            case 2: Fold(); break;
            case 3: Resynchronize(); break;
            case 4: Absorb(); break;
            case 5: Protect(); break;
            case 6: VerifyPoint(); break;
            case 7 or 8 or 9: Maintain(); break;
            case 24 or 25: Prove(); break;
            case 10: Add("scrub", run => run.Store.Scrub(1 + _steps.Count * 1000 % 60_000, CancellationToken.None), _now); break;
            case 11: Add("reopen", run => run.Reopen(), _now); break;
            case 12 or 13 or 14 or 15: Flush(); break;
            case 16: Mark(MarkerKind.Tick, ""); break;
            case 17 or 18: Mark(MarkerKind.ApplicationConsistentPoint, "label " + _now.Newest); break;
            default: Write(BatchKind.Delta); break;
        }
    }

    private void Flush() => Add("flush", run => run.Store.Flush(), _now, s => s with { Durable = true });

    private void Start(string text)
    {
        _now = _now with { Ordinal = 0, Incarnation = _now.Held.Incarnation + 1, Gap = _now.Gap || text == "gap" };
        Mark(MarkerKind.StreamStart, text);
    }

    private void Mark(MarkerKind marker, string text)
    {
        Begin();
        var last = _now.Newest;
        var frame = BatchCodec.Encode(Header(BatchKind.Marker, last, last) with { Marker = marker }, [], System.Text.Encoding.UTF8.GetBytes(text));
        if (marker == MarkerKind.SyncCompleted) _now = _now with { Gap = false };
        var isPoint = marker == MarkerKind.ApplicationConsistentPoint && !_now.Gap;
        Append(marker.ToString(), frame, _now.Gap ? [] : [Here()], s => isPoint ? s with { Marked = (Here().Id, text) } : s);
    }

    /// <summary>Each extent of a delta is a position; a sync batch has none.</summary>
    private void Write(BatchKind kind)
    {
        Begin();
        var (first, extents, payload, reached) = (_now.Newest + 1, new List<Extent>(), new List<byte>(), new List<Reached>());
        for (var count = _random.Next(1, 4); count > 0; count--)
        {
            ChangeDisk(extents, payload, 6000, 1);
            if (kind != BatchKind.Delta) continue;
            _now = _now with { Newest = _now.Newest + 1 };
            if (!_now.Gap) reached.Add(Here());
        }
        var batch = BatchCodec.Encode(Header(kind, kind == BatchKind.Delta ? first : _now.Newest, _now.Newest), extents.ToArray(), payload.ToArray());
        Append(kind.ToString(), BatchCodec.Compress(batch, (PayloadCompression)_random.Next(3)), reached);
    }

    /// <summary>Deltas whose data is all in the last of them.</summary>
    private void Absorb()
    {
        Begin();
        var (held, extents, payload) = (_now.Held, new List<Extent>(), new List<byte>());
        for (var left = _random.Next(1, 4); left >= 0; left--)
        {
            var first = _now.Newest + 1;
            ChangeDisk(extents, payload, 3000, 1);
            _now = _now with { Newest = first + _random.Next(3) };
            var header = Header(BatchKind.Delta, first, _now.Newest) with { Coalesced = true, Absorbed = left > 0 };
            var batch = left > 0 ? BatchCodec.Encode(header, [], []) : BatchCodec.Encode(header, Last(extents, payload, out var data), data);
            Append(left > 0 ? "Absorbed" : "Carrier", batch, left > 0 ? [] : [Here()], s => left > 0 ? s with { After = s.After with { Held = held } } : s);
        }
    }

    /// <summary>Of what the extents wrote the last state, each byte once: whole disks' worth of what they touched.</summary>
    private Extent[] Last(List<Extent> extents, List<byte> payload, out byte[] data)
    {
        payload.Clear();
        var last = new List<Extent>();
        foreach (var disk in extents.Select(e => e.Disk).Distinct().Order())
        {
            var (from, to) = (extents.Where(e => e.Disk == disk).Min(e => e.Offset), extents.Where(e => e.Disk == disk).Max(e => e.Offset + e.Length));
            last.Add(new Extent(from, (int)(to - from), disk, ExtentKind.Data));
            payload.AddRange(_now.Disks[disk].AsSpan((int)from, (int)(to - from)));
        }
        data = [.. payload];
        return [.. last];
    }

    private void Resynchronize()
    {
        var before = _now.Newest;
        Start("gap");
        for (var i = _random.Next(4); i > 0; i--)
        {
            Write(_random.Next(2) == 0 ? BatchKind.Delta : BatchKind.Sync);
            if (_random.Next(4) == 0) Flush();
            if (_random.Next(6) == 0) return; // broken off: what follows begins anew
        }
        // A source that has sent what differs has counted since: no position names two states.
        if (_now.Newest == before) _now = _now with { Newest = before + 1 };
        Mark(MarkerKind.SyncCompleted, "");
    }

    private void Begin()
    {
        if (_now.Ordinal == 0 && _now.Incarnation == _now.Held.Incarnation) Start("continue");
    }

    private Reached Here() => new(RecoveryPoint.IdOf(new Epoch(_now.Epoch), new Sequence(_now.Newest)), _now.Disks, _now.Second);

    private BatchHeader Header(BatchKind kind, long first, long last)
    {
        _now = _now with { Ordinal = _now.Ordinal + 1, Second = _now.Second + 1 };
        return new BatchHeader
        {
            Kind = kind, MachineTag = BatchCodec.TagOf(Machine), Epoch = new Epoch(_now.Epoch), Incarnation = _now.Incarnation, Ordinal = _now.Ordinal,
            First = new Sequence(first), Last = new Sequence(last), Time = At(_now.Second),
        };
    }

    internal static DateTimeOffset At(long second) => World.SimClock.Epoch.AddDays(-1).AddSeconds(second);

    private void Append(string name, Batch batch, IReadOnlyList<Reached> reached, Func<StoreStep, StoreStep>? more = null)
    {
        _now = _now with { Held = batch.Header.Absorbed ? _now.Held : batch.Position, Latest = reached.Count > 0 ? reached[^1].Id : _now.Latest };
        Add($"{name} {batch.Header.First}-{batch.Header.Last} at {batch.Position.Incarnation}/{batch.Position.Ordinal}", run => run.Store.Append(batch), _now,
            s => (more?.Invoke(s) ?? s) with { Reached = reached, Adds = true });
    }

    private void Add(string name, Action<StoreRun> act, StoreState after, Func<StoreStep, StoreStep>? more = null)
    {
        var step = new StoreStep(name, act, after);
        _steps.Add(more?.Invoke(step) ?? step);
        foreach (var reached in _steps[^1].Reached)
        {
            _young.RemoveAll(p => p.Id == reached.Id);
            _young.Add(reached);
        }
        _young.RemoveAll(p => p.Second < _now.Second - YoungSeconds);
    }

    private void ChangeDisk(List<Extent> extents, List<byte> payload, int bytesMax, int granule)
    {
        var disk = (ushort)_random.Next(2);
        var bytes = _now.Disks[disk].ToArray();
        var from = _random.Next(bytes.Length) / granule * granule;
        var length = Math.Min(bytes.Length - from, (_random.Next(bytesMax) / granule + 1) * granule);
        var kind = _random.Next(4) == 0 ? ExtentKind.Zero : ExtentKind.Data;
        bytes.AsSpan(from, length).Clear();
        if (kind == ExtentKind.Data) _random.NextBytes(bytes.AsSpan(from, _random.Next(length) + 1));
        _now = _now with { Disks = disk == 0 ? [bytes, _now.Disks[1]] : [_now.Disks[0], bytes] };
        extents.Add(new Extent(from, length, disk, kind));
        if (kind == ExtentKind.Data) payload.AddRange(bytes.AsSpan(from, length));
    }
}
