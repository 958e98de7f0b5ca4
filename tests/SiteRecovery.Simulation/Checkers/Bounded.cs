using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Checkers;

/// <summary>What waits in the process server keeps within its limit; and what a store keeps, once nothing is broken any more, within its policy.</summary>
internal static class Bounded
{
    private const long FrameBytesMax = 2 << 20;
    /// <summary>Beyond the retention stay a slot, of a segment at both of its ends what it holds, and what came since the store was looked after.</summary>
    private static readonly TimeSpan Beyond = TimeSpan.FromSeconds(60);

    internal static void Check(SimSites sites)
    {
        // What the process server counts, and what lies there: of each machine a frame that is being taken is not counted yet, and a segment more may be there that is being let go of.
        foreach (var relay in sites.Relays.Where(r => r is { IsUp: true, Faults.WereFelt: false }))
            if (relay.Disk.Files("/relay").Where(f => f.EndsWith(".seg", StringComparison.Ordinal)).Sum(relay.Disk.LengthOf) is var lies && lies > SimRelay.SpoolBytesMax + 2 * sites.Machines.Count * FrameBytesMax)
                throw new SimViolation("bounded", $"{lies} bytes lie in the spool's folder");
        foreach (var room in sites.Relays.Select(r => r.Room).OfType<ProcessServerRoom>())
            if (sites.Machines.Sum(m => room.Spool.StatusOf(m.Id)?.Bytes ?? 0) is var waits && waits > SimRelay.SpoolBytesMax + sites.Machines.Count * FrameBytesMax)
                throw new SimViolation("bounded", $"{waits} bytes wait in the spool");
    }

    /// <summary>Runs on until no process server keeps anything of a protection that has ended.</summary>
    internal static async Task CheckSpoolsAsync(SimSites sites)
    {
        for (var deadline = sites.Clock.Elapsed + 2 * Beyond; WhyKept(sites) is { } why;)
        {
            if (sites.Clock.Elapsed > deadline) throw new SimViolation("bounded", why);
            if (!await sites.GoOnAsync(TimeSpan.FromSeconds(1))) return;
        }
    }

    private static string? WhyKept(SimSites sites)
    {
        foreach (var relay in sites.Relays.Where(r => r.Room is not null))
        {
            foreach (var machine in sites.Machines)
            {
                if (machine.State?.Protection?.Since is not { } since) continue;
                if (relay.Room!.Spool.EpochOf(machine.Id) is { Value: > 0 } kept && kept < since) return $"{relay.Name} keeps a spool of epoch {kept} of {machine.Id}, whose protection began in {since}";
                if (relay.Room.Routes.Find(machine.Id) is { } route && route.Epoch < since.Value) return $"{relay.Name} keeps a route of epoch {route.Epoch} of {machine.Id}, whose protection began in {since}";
            }
        }
        return null;
    }

    /// <summary>Runs on until each store keeps no more than its policy asks for.</summary>
    internal static async Task CheckStoresAsync(SimSites sites)
    {
        // What idle machines leave says little.
        // A stream that came to be whole just now, behind a long time in which it was not, is young; and what a clock that was ahead has written ages as much later, with all that lies before it.
        var deadline = sites.Clock.Elapsed + sites.Script.Limits.Longest + 2 * Beyond + sites.Machines.Max(AheadOfWhatFollows);
        if (sites.Script is { Tiers: true, SegmentBytes: > 0 } && !await sites.WriteOnAsync(sites.Script.Limits.Longest + Beyond / 2)) return;
        while (sites.Machines.Select(WhyUnbounded).FirstOrDefault(w => w is not null) is { } why)
        {
            if (sites.Clock.Elapsed > deadline) throw new SimViolation("bounded", why);
            if (!await sites.GoOnAsync(TimeSpan.FromSeconds(1))) return;
        }
    }

    /// <summary>How much later than a later one a point of the store's is said to be, at most: nobody knows which of the two clocks was right, and the store keeps what may be young.</summary>
    private static TimeSpan AheadOfWhatFollows(SimMachine machine)
    {
        var (ahead, following) = (TimeSpan.Zero, DateTimeOffset.MaxValue);
        foreach (var point in (machine.OpenStoreOfTarget?.Points ?? []).Reverse())
        {
            if (point.At - following > ahead) ahead = point.At - following;
            if (point.At < following) following = point.At;
        }
        return ahead;
    }

    private static string? WhyUnbounded(SimMachine machine)
    {
        var sites = machine.Sites;
        if (machine.State is not { Phase: Domain.ProtectedMachines.Phase.Protected } || machine.OpenStoreOfTarget is not { } store || store.OldestPoint is not { } oldest || sites.Rot.WasAt(machine.HostOfTarget.Name) || machine.Checks.Kept.AreAny) return null;
        // While its own clock is behind its source's it keeps as much more.
        if (store.CurrentAsOf - machine.HostOfTarget.Clock.GetUtcNow() > Beyond / 4) return null;
        // What lies in its folder, whatever the store itself knows of it: of segments that are gone nothing, and of what is being written little.
        var files = machine.HostOfTarget.Disk.Files(store.Folder).Where(f => !f.StartsWith(store.Folder + "/replica", StringComparison.Ordinal) && !f.StartsWith(store.Folder + "/tests", StringComparison.Ordinal)).ToArray();
        var (known, lies) = (store.Bytes, files.Where(f => f.EndsWith(".seg", StringComparison.Ordinal)).Sum(machine.HostOfTarget.Disk.LengthOf));
        if (lies > known + 2 * Math.Max(sites.Script.SegmentBytes, FrameBytesMax)) return $"{lies} bytes of segments lie in {store.Folder}, which knows of {known}";
        if (files.Count(f => f.EndsWith(".tmp", StringComparison.Ordinal)) > 2) return $"what was being written stays: {string.Join(", ", files.Where(f => f.EndsWith(".tmp", StringComparison.Ordinal)))}";
        // What ran there, or was tried there, is gone with its layers.
        if (machine.State is { Tests.Length: 0, Continuation: null } && machine.HostOfTarget.Disk.Files(store.Folder + "/replica") is { Count: > 0 } layers) return $"{layers.Count} files of layers stay, as {layers[0]}";
        var (keeps, asked) = (store.CurrentAsOf - oldest.At, sites.Script.Limits.Longest + Beyond);
        return keeps <= asked ? null : $"{keeps.TotalSeconds:0} s are kept, {asked.TotalSeconds:0} s are asked for: {oldest.Id} of {store.CurrentAsOf:mm:ss}";
    }
}
