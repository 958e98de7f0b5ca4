using System.Collections.Immutable;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

public sealed record JobView(
    JobId Id, string Machine, string Action, JobStatus Status, DateTimeOffset StartedAt, DateTimeOffset? FinishedAt, ImmutableArray<JobStep> Steps, string? Error)
{
    public static JobView Of(Job job) => new(job.Id, JobId.TryParse(job.Id.Value, out var machine, out _) ? machine.Value : "", job.Action, job.Status, job.StartedAt, job.FinishedAt, job.Steps, job.Error);
}

public static class JobRoutes
{
    private static readonly TimeSpan PollEvery = TimeSpan.FromMilliseconds(250);

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/jobs", async (string? machine, string? status, HttpContext context, ControlPlane control, CancellationToken cancel) =>
        {
            var machines = (await control.GetConfigurationAsync(cancel)).Machines.Where(m => machine is null || m.Machine.Value == machine);
            var all = await Task.WhenAll(machines.Select(m => control.GetJobsAsync(m.Machine, null, cancel)));
            var views = all.SelectMany(j => j).Where(j => status is null || string.Equals(j.Status.ToString(), status, StringComparison.OrdinalIgnoreCase));
            return Page<JobView>.Of([.. views.OrderByDescending(j => j.StartedAt).Select(JobView.Of)], context);
        }).Needs(AccessRole.Viewer).WithName("list-jobs");
        api.MapGet("/jobs/{job}", ShowAsync).Needs(AccessRole.Viewer).WithName("get-job");
    }

    private static async Task<JobView> ShowAsync(string job, string? wait, ControlPlane control, NodeSettings settings, TimeProvider time, CancellationToken cancel)
    {
        if (!JobId.TryParse(job, out var machine, out _)) throw ProblemException.NotFound("job", job);
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
