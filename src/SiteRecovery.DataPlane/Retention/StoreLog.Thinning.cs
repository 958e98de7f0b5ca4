using System.Collections.Concurrent;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Retention;

/// <content>Segments that take the place of others.</content>
internal sealed partial class StoreLog
{
    private readonly ConcurrentDictionary<SegmentId, TimeSpan> _steps = new();
    private readonly List<SegmentId> _removing = [];

    /// <summary>How far apart the positions are that a segment still shows; the longest time where its header is damaged, so that it is left alone.</summary>
    internal TimeSpan StepOf(SegmentId segment) =>
        segment.Generation == 0 ? TimeSpan.Zero : _steps.GetOrAdd(segment, s => SegmentFile.StepOf(FileOf(s), tag, s) ?? TimeSpan.MaxValue);

    /// <summary>What follows is better put into another: with it a segment may be larger than the limits, but not much.</summary>
    internal bool IsEnough(SegmentDraft draft) => IsFilled(draft, 2);

    /// <summary>It may end where it ends well.</summary>
    internal bool IsNearlyEnough(SegmentDraft draft) => IsFilled(draft, 4);

    /// <summary>What has been written counts from here on: after a crash too.</summary>
    internal void Commit(SegmentDraft draft)
    {
        draft.Dispose();
        files.Rename(draft.Path, PathOf(draft.Id));
        for (var number = draft.Id.First; number < draft.Id.Number; number++) _present.TryRemove(number, out _);
        _present[draft.Id.Number] = draft.Id;
        Uncount(draft.Id.First, draft.Id.Number);
        Count(draft.Id.Number, draft.Bytes);
    }

    private bool IsFilled(SegmentDraft draft, int part) =>
        draft.Bytes >= options.SegmentBytesMax / part || draft.History.Frames >= options.SegmentFramesMax / part || draft.History.Extents >= options.SegmentExtentsMax / part;

    /// <summary>Deletes what a segment has taken the place of, and what could not be deleted before.</summary>
    internal void RemoveSuperseded(SegmentId by)
    {
        _removing.Add(by);
        // Until its name is durable what it stands for must not be lost.
        files.FlushFolder(LogFolder);
        foreach (var file in files.List(LogFolder))
            if (SegmentFile.TryParse(file) is { } of && _removing.Exists(s => s.Supersedes(of.Id))) files.Delete(file);
        Close(segment => _removing.Exists(s => s.Supersedes(segment)));
        _removing.Clear();
    }
}
