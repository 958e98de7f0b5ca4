using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>A store as a script has left it, and what it says and shows when a byte of it has rotted.</summary>
internal sealed class StoreRot
{
    private const int SmallBytes = 256, SampledOfBig = 24;
    private readonly StoreScript _script;
    private readonly SimDisk _disk = new();
    private readonly Random _random;
    private readonly Dictionary<string, byte[][]> _positions = [];
    private readonly string _said;

    internal StoreRot(int seed, int steps)
    {
        (_script, _random) = (new StoreScript(seed, steps), new Random(seed));
        var run = new StoreRun(_disk, _script.Options, new SimClock());
        foreach (var step in _script.Steps) step.Do(run);
        foreach (var reached in _script.Steps.SelectMany(s => s.Reached))
            if (run.Store.ResolvePoint(new PointSelector.ById(reached.Id)) is not null) _positions[reached.Id] = reached.Disks;
        // So that its maps are there.
        run.Store.Maintain(null, CancellationToken.None);
        run.Store.Dispose();
        _said = Said(Open(_disk.Kill()).Store);
    }

    internal IReadOnlyList<string> Files => _disk.Files(StoreRun.Folder);

    internal bool IsScrubbed(string file) => !MayBeMadeAgain(file) && file != Files.Last(f => f.EndsWith(".seg", StringComparison.Ordinal));

    internal IEnumerable<long> OffsetsIn(string file)
    {
        var length = _disk.LengthOf(file);
        return length <= SmallBytes || Path.GetExtension(file) == ".json" ? Enumerable.Range(0, (int)length).Select(o => (long)o) : Enumerable.Range(0, SampledOfBig).Select(_ => _random.NextInt64(length)).Distinct();
    }

    /// <summary>Null: it was found. Else why it should have been.</summary>
    internal string? Flip(string file, long offset)
    {
        var (disk, mask) = (_disk.Kill(), (byte)(1 << _random.Next(8)));
        disk.Flip(file, offset, mask);
        try
        {
            var run = Open(disk);
            var found = run.Store.FailedReason is not null || run.Store.Damage.Count > 0;
            found |= Look(run.Store);
            run.Store.Scrub(long.MaxValue, CancellationToken.None);
            found |= run.Store.Rot.Count > 0 || run.Store.Verify().Count > 0;
            if (found) return null;
            // What can be made again was made again, or never mattered.
            if (Said(run.Store) != _said) return $"it says\n{Said(run.Store)}\ninstead of\n{_said}";
            run.Reopen();
            if (Said(run.Store) != _said || Look(run.Store)) return "opened again it is another";
            run.Store.Dispose();
            return MayBeMadeAgain(file) || IsMadeAgain(disk, file) || IsUnused(file, offset) || IsHeaderOfLast(file, offset) ? null : "nobody found it";
        }
        catch (InvalidDataException)
        {
            return null; // it does not open, and says so
        }
    }

    /// <summary>After the store was opened: found by a round of the scrub.</summary>
    internal bool FindsWhileOpen(string file, long offset)
    {
        var disk = _disk.Kill();
        var run = Open(disk);
        disk.Flip(file, offset, 0x10);
        run.Store.Scrub(long.MaxValue, CancellationToken.None);
        return run.Store.Rot.Count > 0;
    }

    private StoreRun Open(SimDisk disk)
    {
        var run = new StoreRun(disk, _script.Options, new SimClock());
        run.Open();
        return run;
    }

    /// <summary>True: a position could not be read. One that shows other bytes fails the test.</summary>
    private bool Look(RetentionStore store)
    {
        var failed = false;
        var (chosen, latest) = (_random.Next(_positions.Count), _script.Steps[^1].After.Latest);
        foreach (var ((id, disks), i) in _positions.Select((p, i) => (p, i)))
        {
            if (i % 16 != chosen % 16 && id != latest) continue;
            try
            {
                if (store.ResolvePoint(new PointSelector.ById(id)) is not { } point) continue;
                var view = store.At(point);
                for (ushort disk = 0; disk < disks.Length; disk++)
                {
                    var bytes = new byte[disks[disk].Length];
                    view.File(disk).Read(0, bytes);
                    Assert.True(disks[disk].AsSpan().SequenceEqual(bytes), $"{id} shows other bytes on disk {disk}");
                }
                view.Release();
            }
            catch (IOException)
            {
                failed = true;
            }
        }
        return failed;
    }

    private string Said(RetentionStore store) => string.Join('\n', store.CurrentEpoch, store.Held, store.Durable, store.DurableSequence, store.ConsistentUpTo, store.Consistent, store.CurrentAsOf, store.IsEmpty,
        string.Join(' ', store.Disks), string.Join(' ', store.Points), string.Join(" ", store.Points.Select(p => store.NoteOf(p).Protected)),
        string.Join(' ', _positions.Keys.Select(id => store.ResolvePoint(new PointSelector.ById(id)))));

    private static bool MayBeMadeAgain(string file) => Path.GetExtension(file) is ".idx" or ".end" or ".map" || Path.GetFileName(file) is "SYNCED" or "PROOF";

    /// <summary>It says nothing that the file's name does not.</summary>
    private bool IsHeaderOfLast(string file, long offset) => Path.GetExtension(file) == ".seg" && !IsScrubbed(file) && offset < 32;

    /// <summary>Where a store renews its key when it is opened, both copies are written.</summary>
    private static bool IsMadeAgain(SimDisk disk, string file) =>
        Path.GetFileName(file).StartsWith("KEYS", StringComparison.Ordinal) && disk.TryReadAll(Path.Combine(StoreRun.Folder, "KEYS.json"))!.AsSpan().SequenceEqual(disk.TryReadAll(Path.Combine(StoreRun.Folder, "KEYS-2.json")));

    /// <summary>A block of the base that nothing was promoted into, or a hole.</summary>
    internal bool IsUnused(string file, long offset)
    {
        // What is known of blocks is written in whole pages, also behind the disk's last.
        if (Path.GetExtension(file) is ".tag" or ".sum" && (Path.GetExtension(file) == ".sum" ? offset / 8 : offset / 512 * 12) * 4096 >= SizeOf(file)) return true;
        if (Path.GetExtension(file) == ".tag") return offset % 512 >= 488;
        if (Path.GetExtension(file) == ".aes")
        {
            // Of the two places of a block the one where it is not.
            var place = offset / 4096;
            return PlaceOf(file, place / 128 * 64 + place % 64) != (place / 64 % 2 == 1 ? 2 : 1);
        }
        if (Path.GetExtension(file) == ".sum") return PlaceOf(file, offset / 8) != 0;
        if (Path.GetExtension(file) != ".raw") return false;
        var hashes = _disk.TryReadAll(Path.ChangeExtension(file, ".sum"))!;
        var at = offset / 4096 * 8;
        return at + 8 > hashes.Length || BitConverter.ToUInt64(hashes, (int)at) == 0;
    }

    private static long SizeOf(string file) => StoreScript.Geometry.First(d => Path.GetFileNameWithoutExtension(file) == $"disk-{d.Index}").SizeBytes;

    /// <summary>What the encrypted base says of a block: 0 where it does not have it, and nobody asks any other where it does.</summary>
    private byte PlaceOf(string file, long block) =>
        _disk.TryReadAll(Path.ChangeExtension(file, ".tag")) is { } entries && block / 12 * 512 + block % 12 * 40 is var entry && entry < entries.Length ? entries[entry] : (byte)0;
}
