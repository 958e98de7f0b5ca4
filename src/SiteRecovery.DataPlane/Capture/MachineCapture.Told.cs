using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <content>What the target has said is durable. It is written down before a bit is cleared for it: with the bits it survives kill -9, and tells what the target must not lack.</content>
public sealed partial class MachineCapture
{
    private const uint MarkMagic = 0x4D435253; // "SRCM"
    private IBlockFile? _mark;
    private StreamPosition _told, _toldBefore, _notedAt; // the first two under _log
    private long _notedSequence; // -1: what is noted is not sure to be found again
    private bool _hasLostMark, _hasMark; // the second: one is there, and is whole

    private string MarkPath => Path.Combine(_options.StateFolder, "durable");

    /// <summary>Of a fenced machine: where the target stood, as it had said; what is up to there is not among <see cref="NotKnownDurable"/>. After a power loss it may be less.</summary>
    public StreamPosition ToldDurable => KnownPosition;

    /// <summary>What the opening of a stream says: in a new epoch that of one before, of which the target has not lost anything either.</summary>
    private StreamPosition KnownPosition
    {
        get
        {
            lock (_log) return _told != default ? _told : _toldBefore;
        }
    }

    /// <summary>Of a fenced machine the mark of any epoch counts. One that is damaged keeps no machine from its disks.</summary>
    private void RememberTold(CaptureState? stored)
    {
        byte[]? bytes = null;
        if (_isNew || _options.BeginsAnew)
        {
            if (_files.Exists(MarkPath)) BeginMarkAnew(); // of a protection before
            return;
        }
        try
        {
            bytes = _files.TryReadAll(MarkPath);
            _hasLostMark = bytes is not null;
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException)
        {
            _hasLostMark = true;
        }
        if (DurableMark.TryParse(bytes, MarkMagic) is not { } mark)
        {
            // Without power it may not be there, or be as it was made; then bits are set that had been cleared.
            _hasLostMark &= stored?.BootId == _bootId;
            if (bytes is not null && !_hasLostMark) BeginMarkAnew();
            return;
        }
        (_hasLostMark, _hasMark) = (false, true);
        if (mark.Epoch.Value == _state.Epoch || _fenced) (_told, _notedAt, _notedSequence) = (mark.Position, mark.Position, mark.Sequence.Value);
        else _toldBefore = mark.Position;
        if (mark.Epoch.Value == _state.Epoch && !_fenced) _durableSequence = Math.Max(_durableSequence, _notedSequence);
    }

    /// <summary>The pump's only. False: it could not be written, and nothing may be cleared yet.</summary>
    private bool TryNote(StreamPosition told, long sequence)
    {
        if (told == _notedAt && sequence == _notedSequence) return true;
        try
        {
            Note(new DurableMark(new Guid(_bootId), Epoch, told, new Sequence(sequence)));
        }
        catch (Exception unsaved) when (unsaved is IOException or UnauthorizedAccessException)
        {
            _lastError = unsaved.Message; // the stream does not wait for it
            LetGoOfMark();
            return false;
        }
        (_notedAt, _notedSequence) = (told, sequence);
        return true;
    }

    /// <summary>Where it does not let itself be written over another one is put in its place: a mark that is missing would say that nothing was told.</summary>
    private void Note(DurableMark mark)
    {
        if (_hasMark)
        {
            mark.WriteTo(_mark ??= _files.Open(MarkPath, FileOpening.ReadWrite), MarkMagic);
            return;
        }
        _files.Replace(MarkPath, mark.ToBytes(MarkMagic));
        _hasMark = true;
    }

    /// <summary>Regions of which no bit is set are forgotten behind it.</summary>
    private bool TryFlushMark()
    {
        try
        {
            // Also one that a process before has written.
            if (_hasMark) (_mark ??= _files.Open(MarkPath, FileOpening.ReadWrite)).Flush();
            return true;
        }
        catch (Exception unflushed) when (unflushed is IOException or UnauthorizedAccessException)
        {
            _lastError = unflushed.Message;
            LetGoOfMark();
            return false;
        }
    }

    /// <summary>Of a page that cannot be read no part can be written, and one that was not flushed is shown only for a while.</summary>
    private void LetGoOfMark()
    {
        _mark?.Dispose();
        (_mark, _hasMark, _notedAt, _notedSequence) = (null, false, default, -1);
    }

    /// <summary>Nothing has been told that it would say.</summary>
    private void BeginMarkAnew()
    {
        LetGoOfMark();
        try
        {
            _files.Delete(MarkPath);
        }
        catch (Exception undeleted) when (undeleted is IOException or UnauthorizedAccessException)
        {
            // The next one is put in its place.
        }
    }
}
