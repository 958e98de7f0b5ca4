using System.Collections.Immutable;
using System.Text.Json;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

/// <summary>How soon a machine was back, each counted from startedAt; null: not seen yet. The last ones may come long after the job has ended.</summary>
/// <param name="EpochOpened">From here on the source's epoch is over; a test has none.</param>
/// <param name="DisksServed">The view of the point is open.</param>
/// <param name="MachineStarted">Its processors run; null too where the replica is disks alone.</param>
/// <param name="FirstRead">The first sector of the replica's disks was given to whoever asked for it.</param>
/// <param name="GuestUp">By the sign in <paramref name="GuestUpBy"/>.</param>
/// <param name="GuestUpBy">"firstWrite": the first write to the replica's disks, as a kernel makes when it mounts a file system. Null with guestUp.</param>
public sealed record RecoveryTimesView(
    TimeSpan? EpochOpened, TimeSpan? DisksServed, TimeSpan? MachineStarted, TimeSpan? FirstRead, TimeSpan? GuestUp, string? GuestUpBy)
{
    public static RecoveryTimesView? Of(RecoveryTimes? times) => times is null ? null
        : new(times.EpochOpened, times.DisksServed, times.MachineStarted, times.FirstRead, times.FirstWrite, times.FirstWrite is null ? null : "firstWrite");
}

/// <param name="Times">Of a failover or a test failover; null where nothing of it was seen.</param>
public sealed record JobView(
    JobId Id, string Machine, string Action, JobStatus Status, DateTimeOffset StartedAt, DateTimeOffset? FinishedAt, ImmutableArray<JobStep> Steps, string? Error, RecoveryTimesView? Times)
{
    public static JobView Of(Job job) => new(job.Id, JobId.TryParse(job.Id.Value, out var machine, out _) ? machine.Value : "", job.Action, job.Status, job.StartedAt, job.FinishedAt,
        job.Steps, job.Error, RecoveryTimesView.Of(job.Times));
}

/// <param name="NextCursor">Null on the last page.</param>
/// <param name="NotAnswering">Machines that do not answer: their jobs are left out.</param>
public sealed record JobsPage(IReadOnlyList<JobView> Items, string? NextCursor, IReadOnlyList<string> NotAnswering);

public static class JobRoutes
{
    private static readonly JobStatus[] Statuses = Enum.GetValues<JobStatus>();
    private static readonly TimeSpan PollEvery = TimeSpan.FromMilliseconds(250);

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/jobs", async (string? machine, string? status, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            if (status is not null && Statuses.All(s => !Named(s, status))) throw ProblemException.Invalid($"status is '{status}'.", $"Give one of: {string.Join(", ", Statuses.Select(s => JsonNamingPolicy.CamelCase.ConvertName(s.ToString())))}.");
            var machines = (await control.GetConfigurationAsync(cancel)).Machines.Where(m => machine is null || m.Machine.Value == machine);
            var all = await control.GetJobsAsync(machines, cancel);
            var jobs = all.SelectMany(m => m.Jobs?.Jobs ?? []).Where(j => status is null || Named(j.Status, status));
            var page = Page<JobView>.Of([.. jobs.OrderByDescending(j => j.StartedAt).Select(JobView.Of)], context, "machine", "status");
            return new JobsPage(page.Items, page.NextCursor, [.. all.Where(m => m.Jobs is null).Select(m => m.Machine.Value)]);
        }).Needs(AccessRole.Viewer).WithName("list-jobs");
        api.MapGet("/jobs/{job}", ShowAsync).Needs(AccessRole.Viewer).WithName("get-job");
        NotYet.Map(api, "/jobs/{job}/cancel", "cancel a job", "Take back what it does: cancel-failover of the machine before its commit, test-failover-cleanup for a test, pause for a replication.");
        NotYet.Map(api, "/jobs/{job}/resume", "resume a job", "No job of this version waits for input.");
        NotYet.Map(api, "/jobs/{job}/retry", "retry a job", "Give the order itself again.");
    }

    private static bool Named(JobStatus status, string name) => string.Equals(status.ToString(), name, StringComparison.OrdinalIgnoreCase);

    private static async Task<JobView> ShowAsync(string job, string? wait, ControlPlane control, NodeSettings settings, TimeProvider time, CancellationToken cancel)
    {
        // Asked for a machine that nobody knows, its actor would come into being, and stay.
        if (!JobId.TryParse(job, out var machine, out _) || await control.GetVaultOfAsync(machine, cancel) is null) throw ProblemException.NotFound("job", job);
        var patience = wait is null ? TimeSpan.Zero : JsonForms.Duration(wait) ?? throw ProblemException.Invalid($"wait is '{wait}'.", "Give a duration such as 30s.");
        var end = time.GetUtcNow() + (patience < settings.WaitMax ? patience : settings.WaitMax);
        while (true)
        {
            var found = (await control.GetJobsAsync(machine, new JobId(job), cancel)).FirstOrDefault() ?? throw ProblemException.NotFound("job", job);
            if (found.IsFinished || time.GetUtcNow() >= end) return JobView.Of(found);
            await Task.Delay(PollEvery, time, cancel);
        }
    }
}
