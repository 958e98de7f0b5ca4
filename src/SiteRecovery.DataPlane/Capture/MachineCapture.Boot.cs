namespace SiteRecovery.DataPlane.Capture;

/// <content>A host that was down does not know what has happened meanwhile: until somebody says it, writes wait.</content>
public sealed partial class MachineCapture
{
    private readonly string _bootId;
    private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The host has booted since the machine was last known to be at home here.</summary>
    public bool IsAsking => !_answered.Task.IsCompleted;

    internal Task Answered => _answered.Task;

    /// <summary>The machine is at home here, or nobody can say that it is not: for as long as this host is up, no write waits for that again. Durable when it returns.</summary>
    /// <exception cref="IOException">It could not be written down: nothing waits any more, and the next process asks again, unless a later call writes it.</exception>
    public void Answer()
    {
        if (_state.BootId == _bootId) return;
        try
        {
            Save(s => s with { BootId = _bootId });
        }
        finally
        {
            _answered.TrySetResult();
        }
    }

    /// <summary>Only of a capture that exists is there anything to ask. One that was never told of a boot has not asked before either.</summary>
    private bool MustAsk(CaptureState? stored) =>
        _options.AsksAfterBoot && _bootId != NoBootId && stored is { Fenced: false, BootId: { } then } && then != _bootId;

    private static readonly string NoBootId = Guid.Empty.ToString();
}
