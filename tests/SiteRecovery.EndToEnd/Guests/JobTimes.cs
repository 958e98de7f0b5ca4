using System.Text.Json.Nodes;
using SiteRecovery.Node.Http;

namespace SiteRecovery.EndToEnd.Guests;

/// <summary>How soon its machine was back, as a job says it: each from the command on, and null until it was seen.</summary>
internal sealed record JobTimes(TimeSpan? Epoch, TimeSpan? Served, TimeSpan? Started, TimeSpan? FirstRead, TimeSpan? GuestUp)
{
    internal static JobTimes Of(JsonNode job) => new(Time(job, "epochOpened"), Time(job, "disksServed"), Time(job, "machineStarted"), Time(job, "firstRead"), Time(job, "guestUp"));

    /// <summary>Asked for until the guest is seen to be up: that comes after the job's end.</summary>
    internal static async Task<JobTimes> UntilGuestUpAsync(Func<Task<JsonNode>> job, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (true)
        {
            var seen = await job();
            if (Of(seen) is { GuestUp: not null } times)
            {
                Assert.Equal("firstWrite", (string?)seen["times"]!["guestUpBy"]);
                return times;
            }
            await timer.WaitForNextTickAsync(stop);
        }
    }

    /// <summary>One after the other as they must be; a machine looks at its disks before its processors run, and a test opens no epoch.</summary>
    internal JobTimes InOrder(bool epoch, bool machine)
    {
        Assert.True(Epoch is not null == epoch && Started is not null == machine && Served is not null && FirstRead is not null, ToString());
        Assert.True(!(Epoch < TimeSpan.Zero) && !(Epoch > Served) && !(Served > Started) && Served <= FirstRead && !(GuestUp < FirstRead) && !(GuestUp < Started), ToString());
        return this;
    }

    public override string ToString() => string.Join(", ", new (string Name, TimeSpan? After)[]
    {
        ("epoch", Epoch), ("disks served", Served), ("machine started", Started), ("first read", FirstRead), ("guest up", GuestUp),
    }.Select(t => t.After is { } after ? $"{t.Name} {after.TotalMilliseconds:F0} ms" : $"{t.Name} -"));

    private static TimeSpan? Time(JsonNode job, string name) => (string?)job["times"]?[name] is { } text ? JsonForms.Duration(text) : null;
}
