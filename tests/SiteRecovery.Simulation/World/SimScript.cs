using System.Globalization;
using System.Text;
using SiteRecovery.DataPlane.Retention;
using SiteRecovery.Domain.Policies;

namespace SiteRecovery.Simulation.World;

/// <summary>One thing that happens to the world: when, in milliseconds, and what, in words.</summary>
internal sealed record SimStep(int At, string What)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"at {At} {What}");
}

/// <summary>
/// A run: the seed of whatever the guest and the network do by themselves, how long things break, and what breaks when. As text one line each, comments begin with '#'.
/// </summary>
internal sealed record SimScript(int Seed, int Until, IReadOnlyList<SimStep> Steps)
{
    internal const int BusyPace = 40;

    /// <summary>How many there are: db1, and so on.</summary>
    internal int Machines { get; init; } = 1;
    /// <summary>How many process servers there are: relay, and relay2, to which the agent goes while that one does not answer.</summary>
    internal int Relays { get; init; } = 1;
    /// <summary>How many milliseconds pass between two turns of a guest, about.</summary>
    internal int Pace { get; init; } = BusyPace;
    /// <summary>The policy leaves it to the operator when a machine that has diverged is resynchronized.</summary>
    internal bool Asks { get; init; }
    /// <summary>The disks hold data from before the protection, which the guest may never write again.</summary>
    internal bool Aged { get; init; }
    /// <summary>Whoever asks in an operator's name asks some things twice, as one who has heard no answer does.</summary>
    internal bool Repeats { get; init; }
    /// <summary>The guest flushes now and then.</summary>
    internal bool Flushes { get; init; }
    /// <summary>The policy keeps some of what is older than a short window.</summary>
    internal bool Tiers { get; init; }
    /// <summary>The policy has stores encrypted.</summary>
    internal bool Encrypted { get; init; }
    /// <summary>When a segment of a store is full, in bytes; 0: as the product has it, which is more than a run writes.</summary>
    internal int SegmentBytes { get; init; }

    internal ReplicationPolicy Policy => ReplicationPolicy.Default with
    {
        RetentionWindow = TimeSpan.FromSeconds(Tiers ? 12 : 40), Compression = "lz4", ResynchronizationWindow = Asks ? ResynchronizationWindow.Manual : ResynchronizationWindow.Automatic,
        RetentionTiers = Tiers ? RetentionTiers.Of([new(TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(40)), new(TimeSpan.FromSeconds(15), TimeSpan.FromSeconds(120))]) : null, RetentionEncrypted = Encrypted,
    };

    internal RetentionLimits Limits => new(Policy.RetentionWindow, null, Policy.RetentionTiers);

    /// <summary>It with one thing less that is not as in most runs, each of those there are.</summary>
    internal IEnumerable<SimScript> Plainer()
    {
        if (Machines > 1) yield return this with { Machines = 1 };
        if (Asks) yield return this with { Asks = false };
        if (Aged) yield return this with { Aged = false };
        if (Repeats) yield return this with { Repeats = false };
        if (Flushes) yield return this with { Flushes = false };
        if (Tiers) yield return this with { Tiers = false };
        if (Encrypted) yield return this with { Encrypted = false };
        if (SegmentBytes > 0) yield return this with { SegmentBytes = 0 };
    }

    /// <exception cref="FormatException">A line is no step.</exception>
    internal static SimScript Parse(string text)
    {
        var (script, steps) = (new SimScript(1, 0, []), new List<SimStep>());
        foreach (var line in text.Split('\n').Select(l => l.Trim()).Where(l => l.Length > 0 && l[0] != '#'))
        {
            var words = line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries);
            if (words is ["at", var at, var what]) steps.Add(new SimStep(Number(at), what));
            else script = words switch
            {
                ["seed", var number] => script with { Seed = Number(number) },
                ["until", var end] => script with { Until = Number(end) },
                ["machines", var count] => script with { Machines = Number(count) },
                ["relays", var count] => script with { Relays = Number(count) },
                ["pace", var turn] => script with { Pace = Number(turn) },
                ["asks"] => script with { Asks = true },
                ["aged"] => script with { Aged = true },
                ["repeats"] => script with { Repeats = true },
                ["flushes"] => script with { Flushes = true },
                ["tiers"] => script with { Tiers = true },
                ["encrypted"] => script with { Encrypted = true },
                ["segments", var bytes] => script with { SegmentBytes = Number(bytes) },
                _ => throw new FormatException($"not a line of a script: {line}"),
            };
        }
        return script with { Steps = [.. steps.OrderBy(s => s.At)] };
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        Line($"seed {Seed}");
        Line($"until {Until}");
        if (Machines > 1) Line($"machines {Machines}");
        if (Relays > 1) Line($"relays {Relays}");
        if (Pace != BusyPace) Line($"pace {Pace}");
        if (Asks) Line($"asks");
        if (Aged) Line($"aged");
        if (Repeats) Line($"repeats");
        if (Flushes) Line($"flushes");
        if (Tiers) Line($"tiers");
        if (Encrypted) Line($"encrypted");
        if (SegmentBytes > 0) Line($"segments {SegmentBytes}");
        foreach (var step in Steps) Line($"{step}");
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    internal static int Number(string text) => int.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
}
