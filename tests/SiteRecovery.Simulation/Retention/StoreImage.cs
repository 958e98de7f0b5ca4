using SiteRecovery.DataPlane.Retention;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Retention;

/// <summary>Holds what a crash has left of a store against the script: nothing acknowledged is lost, nothing that is shown is wrong, and it goes on.</summary>
/// <param name="current">The step that was under way, or the last one done.</param>
/// <param name="durable">The last step that is known to survive; -1: none.</param>
internal sealed class StoreImage(StoreScript script, SimDisk disk, int current, int durable, int seed)
{
    private readonly Random _random = new(seed);
    private readonly StoreRun _run = new(disk, script.Options, new SimClock());

    /// <param name="all">Every position is looked at, else some of them.</param>
    internal void Check(bool all)
    {
        if (!StoreRun.IsOn(disk))
        {
            Assert.True(durable < 0, "there is no store any more");
            GoOn(-1);
            return;
        }
        _run.Open();
        Assert.True(_run.Store.FailedReason is null && _run.Store.Damage.Count == 0, $"it opens with damage: {_run.Store.FailedReason}");
        var survived = Survived();
        AssertNotes();
        AssertPoints(survived);
        AssertPositions(survived, all);
        GoOn(survived);
    }

    /// <summary>The last step whose frames are all there.</summary>
    private int Survived()
    {
        var key = (_run.Store.CurrentEpoch.Value, _run.Store.Held);
        var first = Enumerable.Range(0, current + 1).FirstOrDefault(i => script.Steps[i].After.Key == key, -1);
        // In the midst of a fold it stands where no step does, and so does a fold that was repeated.
        if (first < 0 && script.Steps[current] is { IsFold: true, After.Held: var end })
            first = _run.Store.Held.Incarnation > end.Incarnation && _run.Store.Held.Ordinal == end.Ordinal ? current : FirstWith(current - 1);
        Assert.True(first >= 0, $"it stands at {key}, where no step came to");
        Assert.True(durable < 0 || first >= FirstWith(durable), $"it came to step {first}, but step {durable} was durable");
        return first;
    }

    /// <summary>Steps without a frame come to where the last frame did.</summary>
    private int FirstWith(int step) => Enumerable.Range(0, step + 1).First(i => script.Steps[i].After.Key == script.Steps[step].After.Key);

    private void AssertNotes()
    {
        var notes = new Dictionary<string, (bool Known, bool Protected)>();
        for (var i = 0; i <= current; i++)
            if (script.Steps[i].Note is { } note) notes[note.Id] = (i < current, note.Protected);
        foreach (var (id, (known, kept)) in notes)
        {
            if (!known || Find(id) is not { } point) continue;
            Assert.True(_run.Store.NoteOf(point).Protected == kept, $"{id} should {(kept ? "" : "not ")}be protected");
        }
        foreach (var (id, note) in notes) Assert.True(!note.Known || !note.Protected || Find(id) is not null, $"{id} is protected, and gone");
    }

    private void AssertPoints(int survived)
    {
        var marked = new HashSet<(string, string?)>();
        for (var i = 0; i <= survived; i++)
            if (script.Steps[i].Marked is { } mark) marked.Add(mark);
        foreach (var point in _run.Store.Points)
            if (point.Label is not null && !(script.Steps[current].IsFold && point.Label == "what it had")) Assert.Contains((point.Id, point.Label), marked);
        var shown = _run.Store.Points.Select(p => (p.Id, p.Label)).ToHashSet();
        var givenUpTo = GivenUpTo();
        for (var i = 0; i <= survived; i++)
            if (script.Steps[i] is { Marked: { } mark, Reached: [.., var reached] } && reached.Second > givenUpTo && !IsOverwritten(mark.Id, i, survived))
                Assert.True(shown.Contains(mark), $"{mark} is no point any more");
    }

    // Whoever marks the same position again says what it is called.
    private bool IsOverwritten(string id, int from, int to) => Enumerable.Range(from + 1, Math.Max(0, to - from)).Any(i => script.Steps[i].Reached.Any(r => r.Id == id));

    private long GivenUpTo() => Enumerable.Range(0, current + 1).Max(i => script.Steps[i].GivesUpTo);

    private void AssertPositions(int survived, bool all)
    {
        var positions = PositionsAt(survived);
        if (script.Steps[survived].After.Latest is var latest && !script.Steps[current].IsFold) Assert.Equal(latest, _run.Store.ConsistentUpTo?.Id);
        var givenUpTo = GivenUpTo();
        foreach (var position in positions)
        {
            var point = Find(position.Id);
            if (point is null)
            {
                Assert.True(position.Second <= givenUpTo, $"{position.Id} of second {position.Second} is gone; up to {givenUpTo} may be");
                continue;
            }
            if (all || position == positions[^1] || _random.Next(positions.Count) < 4) AssertShows(point, position.Disks);
        }
    }

    private List<Reached> PositionsAt(int survived)
    {
        var positions = new Dictionary<string, Reached>();
        for (var i = 0; i <= survived; i++)
            foreach (var reached in script.Steps[i].Reached)
            {
                positions.Remove(reached.Id);
                positions[reached.Id] = reached;
            }
        // A fold that is under way may have come so far that it shows, under an id that was there before.
        if (survived < current && script.Steps[current] is { IsFold: true, Reached: [var folded] } fold && _run.Store is { Consistent: true, Held: var held } && held.Incarnation == fold.After.Held.Incarnation)
            positions[folded.Id] = folded;
        return [.. positions.Values];
    }

    private void AssertShows(RecoveryPoint point, byte[][] disks)
    {
        var view = _run.Store.At(point);
        for (ushort i = 0; i < disks.Length; i++)
        {
            var bytes = new byte[disks[i].Length];
            view.File(i).Read(0, bytes);
            Assert.True(disks[i].AsSpan().SequenceEqual(bytes), $"{point.Id} shows other bytes on disk {i}, from {disks[i].AsSpan().CommonPrefixLength(bytes)} on");
        }
        view.Release();
    }

    /// <summary>The source sends again what did not survive, and control says again what it was just saying.</summary>
    private void GoOn(int survived)
    {
        for (var i = survived + 1; i <= current; i++)
            if (script.Steps[i].Adds || i == current || i == 0) script.Steps[i].Do(_run);
        _run.Store.Flush();
        AssertEnd();
        _run.Reopen();
        AssertEnd();
        Assert.Empty(_run.Store.Verify());
        _run.Store.Scrub(long.MaxValue, CancellationToken.None);
        Assert.Empty(_run.Store.Rot);
        _run.Store.Dispose();
    }

    private void AssertEnd()
    {
        var end = script.Steps[current].After;
        Assert.Equal(end.Latest, _run.Store.ConsistentUpTo?.Id);
        // A fold that is repeated is another stream.
        if (!script.Steps[current].IsFold) Assert.Equal(end.Key, (_run.Store.CurrentEpoch.Value, _run.Store.Held));
        Assert.Equal(!end.Gap, _run.Store.Consistent);
        if (end.Latest is null) return;
        var disks = PositionsAt(current).First(p => p.Id == end.Latest).Disks;
        AssertShows(_run.Store.ConsistentUpTo!, disks);
        Assert.Equal(StoreScript.RootOf(disks), _run.Store.Prove(_run.Store.ConsistentUpTo!, CancellationToken.None));
    }

    private RecoveryPoint? Find(string id) => _run.Store.ResolvePoint(new PointSelector.ById(id));
}
