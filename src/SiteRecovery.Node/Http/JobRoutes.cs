using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Jobs;
using SiteRecovery.Node.Identity;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Http;

public static class JobRoutes
{
    private static readonly TimeSpan PollEvery = TimeSpan.FromMilliseconds(250);

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("/jobs", async (HttpContext context, ConfigurationFile store, IControlPlane control, CancellationToken cancel) =>
        {
            var all = await Task.WhenAll(store.List("machine").Select(m => control.GetJobsAsync(new MachineId((string)m["name"]!), null, cancel)));
            return Page<Job>.Of([.. all.SelectMany(j => j).OrderByDescending(j => j.StartedAt)], context);
        }).Needs(AccessRole.Viewer).WithName("list-jobs");
        api.MapGet("/jobs/{job}", ShowAsync).Needs(AccessRole.Viewer).WithName("get-job");
    }

    private static async Task<Job> ShowAsync(string job, string? wait, IControlPlane control, NodeSettings settings, TimeProvider time, CancellationToken cancel)
    {
        if (!JobId.TryParse(job, out var machine, out _)) throw ProblemException.NotFound("job", job);
        var patience = wait is null ? TimeSpan.Zero : JsonForms.Duration(wait) ?? throw ProblemException.Invalid($"wait is '{wait}'.", "Give a duration such as 30s.");
        var end = time.GetUtcNow() + (patience < settings.WaitMax ? patience : settings.WaitMax);
        while (true)
        {
            var found = (await control.GetJobsAsync(machine, new JobId(job), cancel)).FirstOrDefault() ?? throw ProblemException.NotFound("job", job);
            if (found.IsFinished || time.GetUtcNow() >= end) return found;
            await Task.Delay(PollEvery, time, cancel);
        }
    }
}
