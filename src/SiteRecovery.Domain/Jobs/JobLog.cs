using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Domain.Jobs;

/// <summary>A machine's jobs, oldest first; the newest <see cref="JobsMax"/> are kept, and any that still runs. A job's status follows from its steps; a step is pending until the required ones before it are done, or until it is begun beside them.</summary>
public sealed record JobLog(ImmutableArray<Job> Jobs)
{
    public const int JobsMax = 50;

    public static JobLog Empty { get; } = new(ImmutableArray<Job>.Empty);

    [JsonIgnore] public IEnumerable<Job> NewestFirst => Jobs.Reverse();

    public Job? Find(JobId id) => Jobs.FirstOrDefault(j => j.Id == id);

    /// <param name="steps">Name, and whether the job needs it to end without a warning.</param>
    public JobLog Start(JobId id, string action, DateTimeOffset at, params ReadOnlySpan<(string Name, bool Required)> steps)
    {
        var made = ImmutableArray.CreateBuilder<JobStep>(steps.Length);
        foreach (var (name, required) in steps) made.Add(new JobStep(name, JobStatus.Pending, at, null, required));
        var job = new Job(id, action, JobStatus.Running, at, null, Advanced(made.ToImmutable(), at));
        var excess = Math.Max(0, Jobs.Length + 1 - JobsMax);
        // Somebody may wait for one that runs, and its steps are still to be told of.
        return new JobLog([.. Jobs.Where(kept => !kept.IsFinished || --excess < 0), job]);
    }

    /// <summary>A job whose only effect is the durable event itself.</summary>
    public JobLog Done(JobId id, string action, DateTimeOffset at) => Start(id, action, at, (action, true)).Complete(action, at, id);

    /// <summary>The step is under way beside those before it.</summary>
    public JobLog Begin(string step, DateTimeOffset at) => Change(step, at, null, s => s.Status == JobStatus.Pending ? s with { Status = JobStatus.Running, At = at } : s);

    /// <summary>The effect is there: completes the step wherever it is open, also in a job that had ended without it.</summary>
    /// <param name="detail">What was seen; null leaves what is said of it.</param>
    public JobLog Complete(string step, DateTimeOffset at, JobId? only = null, string? detail = null) => Change(step, at, only, s =>
        IsOpen(s) ? s with { Status = JobStatus.Succeeded, At = at, Detail = detail ?? s.Detail } : s);

    /// <summary>The step is being tried again, or (permanent) has failed for good.</summary>
    /// <param name="reason">Null changes nothing.</param>
    public JobLog Fail(string step, DateTimeOffset at, string? reason, bool permanent, JobId? only = null) => reason is null ? this : Change(step, at, only, s =>
        !IsOpen(s) ? s
        : s with { Status = permanent ? JobStatus.Failed : s.Status, At = at, Detail = reason });

    /// <summary>What was still running is overtaken by something else.</summary>
    public JobLog CancelRunning(DateTimeOffset at, string by) => new([.. Jobs.Select(job => job.IsFinished || RunsBeside(job) ? job : Cancelled(job, at, by))]);

    /// <summary>A failover that was rolled back says what that leaves.</summary>
    /// <param name="reason">Why it failed; null: an operator cancelled it.</param>
    public JobLog EndRunning(DateTimeOffset at, string? reason, string outcome) => new([.. Jobs.Select(job => job.IsFinished || RunsBeside(job) ? job : Cancelled(job, at, "") with
    {
        Status = reason is null ? JobStatus.Cancelled : JobStatus.Failed,
        Error = $"{Sentence.Of(reason ?? "Cancelled by an operator")} {outcome}",
    })]);

    /// <summary>Another replica is the machine now.</summary>
    public JobLog CancelFlattening(DateTimeOffset at) => new([.. Jobs.Select(job =>
        job is { IsFinished: false, Action: ProtectedMachines.MachineActions.Flatten } ? Cancelled(job, at, "another replica") : job)]);

    private static Job Cancelled(Job job, DateTimeOffset at, string by) => job with
    {
        Status = JobStatus.Cancelled,
        FinishedAt = at,
        Error = $"Overtaken by {by}.",
        Steps = [.. job.Steps.Select(s => IsOpen(s) ? s with { Status = JobStatus.Cancelled, At = at } : s)],
    };

    private static bool IsOpen(JobStep step) => step.Status is JobStatus.Pending or JobStatus.Running;

    private static ImmutableArray<JobStep> Advanced(ImmutableArray<JobStep> steps, DateTimeOffset at) =>
        [.. steps.Select((s, i) => s.Status == JobStatus.Pending && steps.Take(i).All(before => !before.Required || before.Status == JobStatus.Succeeded) ? s with { Status = JobStatus.Running, At = at } : s)];

    // What happens to replication is nothing to a test failover, nor to the disks of the machine.
    private static bool RunsBeside(Job job) => job.Action is ProtectedMachines.MachineActions.TestFailover or ProtectedMachines.MachineActions.TestFailoverCleanup or ProtectedMachines.MachineActions.Flatten;

    /// <summary>The running job of the action opens this epoch.</summary>
    public JobLog Opens(string action, Epoch epoch)
    {
        var running = NewestFirst.FirstOrDefault(j => j.Action == action && !j.IsFinished);
        return new([.. Jobs.Select(job => job == running ? job with { Epoch = epoch } : job)]);
    }

    public Job? FindByEpoch(Epoch epoch) => NewestFirst.FirstOrDefault(j => j.Epoch == epoch);

    /// <summary>What was seen of it is added, also to a job that has ended.</summary>
    public JobLog Time(JobId? id, RecoveryTimes seen) => new([.. Jobs.Select(job => job.Id == id ? job with { Times = (job.Times ?? new RecoveryTimes()).With(seen) } : job)]);

    /// <summary>The job's steps will not be done any more; nothing happens where it has ended.</summary>
    public JobLog Cancel(JobId id, DateTimeOffset at, string by) => new([.. Jobs.Select(job => job.Id == id && !job.IsFinished ? Cancelled(job, at, by) : job)]);

    private JobLog Change(string step, DateTimeOffset at, JobId? only, Func<JobStep, JobStep> change) =>
        new([.. Jobs.Select(job => only is null || job.Id == only
            ? Settle(job with { Steps = [.. job.Steps.Select(s => s.Name == step ? change(s) : s)] }, at)
            : job)]);

    private static Job Settle(Job job, DateTimeOffset at)
    {
        if (job.Status is JobStatus.Failed or JobStatus.Cancelled or JobStatus.Succeeded) return job;
        var failed = job.Steps.FirstOrDefault(s => s.Required && s.Status == JobStatus.Failed);
        if (failed is not null)
        {
            // What the job still needed will not be done for it; another job's same step must not complete it later.
            var steps = job.Steps.Select(s => s.Required && IsOpen(s) ? s with { Status = JobStatus.Cancelled, At = at } : s);
            return job with { Status = JobStatus.Failed, FinishedAt = at, Error = $"{failed.Name}: {failed.Detail}", Steps = [.. steps] };
        }
        if (job.Steps.All(s => s.Status == JobStatus.Succeeded)) return job with { Status = JobStatus.Succeeded, FinishedAt = job.FinishedAt ?? at };
        return Overdue(job) ? job with { Status = JobStatus.SucceededWithWarnings, FinishedAt = job.FinishedAt ?? at } : job with { Steps = Advanced(job.Steps, at) };
    }

    // All that the job needs is there; what remains is optional and has already been seen failing.
    private static bool Overdue(Job job) => job.Steps.All(s => s.Status == JobStatus.Succeeded || (!s.Required && s.Detail is not null));
}
