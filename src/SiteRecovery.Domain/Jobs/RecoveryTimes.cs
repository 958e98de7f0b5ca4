namespace SiteRecovery.Domain.Jobs;

/// <summary>
/// How soon a machine was back, each counted from its command and seen at the master target; null: not seen yet. What comes last may come long after the job has
/// ended, for a guest boots in its own time.
/// </summary>
/// <param name="EpochOpened">From here on the source's epoch is over. A test has none.</param>
/// <param name="DisksServed">The view of the point is open and can be read.</param>
/// <param name="MachineStarted">Its processors run; null too where the replica is disks alone.</param>
/// <param name="FirstRead">The first sector that somebody asked for was given. QEMU looks at a disk before it lets the machine run.</param>
/// <param name="FirstWrite">The first write to the replica: a guest's kernel that mounts its file systems, or a boot loader that notes its boot just before.</param>
public sealed record RecoveryTimes(
    TimeSpan? EpochOpened = null, TimeSpan? DisksServed = null, TimeSpan? MachineStarted = null, TimeSpan? FirstRead = null, TimeSpan? FirstWrite = null)
{
    /// <summary>Until the machine was back, by the latest sign there is.</summary>
    [System.Text.Json.Serialization.JsonIgnore] public TimeSpan? Recovered => FirstWrite ?? (MachineStarted > FirstRead ? MachineStarted : FirstRead) ?? MachineStarted ?? DisksServed;

    /// <summary>What was seen first stays: a process that starts anew sees its own first read, and it is none.</summary>
    public RecoveryTimes With(RecoveryTimes later) => new(
        EpochOpened ?? later.EpochOpened, DisksServed ?? later.DisksServed, MachineStarted ?? later.MachineStarted, FirstRead ?? later.FirstRead, FirstWrite ?? later.FirstWrite);
}

/// <summary>The same as it is reported: how long ago, so that no two clocks are compared.</summary>
public sealed record ReplicaFirsts(TimeSpan Served, TimeSpan? MachineStarted = null, TimeSpan? Read = null, TimeSpan? Write = null)
{
    /// <param name="now">Of the clock that <paramref name="begun"/> was taken from.</param>
    public RecoveryTimes Since(DateTimeOffset begun, DateTimeOffset now)
    {
        var after = now - begun;
        return new(null, After(after, Served), After(after, MachineStarted), After(after, Read), After(after, Write));
    }

    // What was there before the command is nothing that it brought about.
    private static TimeSpan? After(TimeSpan now, TimeSpan? ago) => now - ago is { } span && span >= TimeSpan.Zero ? span : null;
}
