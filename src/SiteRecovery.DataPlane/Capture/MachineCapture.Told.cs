using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Capture;

/// <content>What the target has said is durable. It is written down before a bit is cleared for it: with the bits it survives kill -9, and tells what the target must not lack.</content>
public sealed partial class MachineCapture
{
    private const uint MarkMagic = 0x4D435253; // "SRCM"
    private IBlockFile? _mark;
    private StreamPosition _told, _notedAt; // the first under _log
    private long _notedSequence;

    private string MarkPath => Path.Combine(_options.StateFolder, "durable");

    /// <summary>Of a fenced machine: where the target stood, as it had said; what is up to there is not among <see cref="NotKnownDurable"/>. After a power loss it may be less.</summary>
    public StreamPosition ToldDurable
    {
        get
        {
            lock (_log) return _told;
        }
    }

    /// <summary>Of a fenced machine that of any epoch counts. One that cannot be read is none: it must not keep a machine from its disks.</summary>
    private void RememberTold()
    {
        byte[]? stored = null;
        try
        {
            stored = _files.TryReadAll(MarkPath);
        }
        catch (IOException)
        {
            // It is written anew before it is needed.
        }
        // Without power an older one may have come back: it says less, and bits are set that had been cleared.
        if (DurableMark.TryParse(stored, MarkMagic) is not { } mark || !(_fenced || mark.Epoch.Value == _state.Epoch)) return;
        (_told, _notedAt, _notedSequence) = (mark.Position, mark.Position, mark.Sequence.Value);
        if (!_fenced) _durableSequence = Math.Max(_durableSequence, _notedSequence);
    }

    /// <summary>The pump's only. False: it could not be written, and nothing may be cleared yet.</summary>
    private bool TryNote(StreamPosition told, long sequence)
    {
        if (told == _notedAt && sequence == _notedSequence) return true;
        try
        {
            new DurableMark(new Guid(_bootId), Epoch, told, new Sequence(sequence)).WriteTo(_mark ??= _files.Open(MarkPath, FileOpening.Create), MarkMagic);
        }
        catch (IOException unsaved)
        {
            _lastError = unsaved.Message; // the stream does not wait for it
            BeginMarkAnew();
            return false;
        }
        (_notedAt, _notedSequence) = (told, sequence);
        return true;
    }

    /// <summary>Of a page that cannot be read no part can be written.</summary>
    private void BeginMarkAnew()
    {
        _mark?.Dispose();
        _mark = null;
        try
        {
            _files.Delete(MarkPath);
        }
        catch (IOException)
        {
            // Then the next attempt fails as this one did.
        }
    }
}
