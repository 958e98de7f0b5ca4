using System.Globalization;
using System.Text;

namespace SiteRecovery.Simulation.World;

/// <summary>One thing that happens to the world: when, in milliseconds, and what, in words.</summary>
internal sealed record SimStep(int At, string What)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"at {At} {What}");
}

/// <summary>
/// A run: the seed of whatever the guest and the network do by themselves, how long things break, and what breaks when. As text one line each, comments begin with '#'.
/// </summary>
/// <param name="Aged">The disks hold data from before the protection, which the guest may never write again.</param>
/// <param name="Machines">How many there are: db1, and so on.</param>
/// <param name="Pace">How many milliseconds pass between two turns of a guest, about.</param>
/// <param name="Asks">The policy leaves it to the operator when a machine that has diverged is resynchronized.</param>
internal sealed record SimScript(int Seed, int Until, IReadOnlyList<SimStep> Steps, bool Asks = false, bool Aged = false, int Machines = 1, int Pace = SimScript.BusyPace)
{
    internal const int BusyPace = 40;

    /// <exception cref="FormatException">A line is no step.</exception>
    internal static SimScript Parse(string text)
    {
        var (seed, until, asks, aged, machines, pace, steps) = (1, 0, false, false, 1, BusyPace, new List<SimStep>());
        foreach (var line in text.Split('\n').Select(l => l.Trim()).Where(l => l.Length > 0 && l[0] != '#'))
        {
            var words = line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries);
            if (words is ["seed", var number]) seed = Number(number);
            else if (words is ["machines", var count]) machines = Number(count);
            else if (words is ["pace", var turn]) pace = Number(turn);
            else if (words is ["asks"]) asks = true;
            else if (words is ["aged"]) aged = true;
            else if (words is ["until", var end]) until = Number(end);
            else if (words is ["at", var at, var what]) steps.Add(new SimStep(Number(at), what));
            else throw new FormatException($"not a line of a script: {line}");
        }
        return new SimScript(seed, until, [.. steps.OrderBy(s => s.At)], asks, aged, machines, pace);
    }

    public override string ToString() =>
        Steps.Aggregate(new StringBuilder(string.Create(CultureInfo.InvariantCulture,
            $"seed {Seed}\nuntil {Until}\n{(Machines > 1 ? $"machines {Machines}\n" : "")}{(Pace != BusyPace ? $"pace {Pace}\n" : "")}{(Asks ? "asks\n" : "")}{(Aged ? "aged\n" : "")}")), (text, step) => text.Append(step).Append('\n')).ToString();

    internal static int Number(string text) => int.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
}
