namespace SiteRecovery.DataPlane.Hypervisors;

public enum HypervisorProblem
{
    /// <summary>The hypervisor is not installed, or does not answer.</summary>
    Unavailable,
    NoSuchMachine,
    /// <summary>A machine of that name is there and is not ours to change.</summary>
    Conflict,
    /// <summary>The machine's state or definition does not allow it.</summary>
    Refused,
    /// <summary>The host cannot have such a machine, however often it is asked.</summary>
    Unfit,
}

/// <summary>What the hypervisor does not do, why, and what the operator can do about it.</summary>
public sealed class HypervisorException(HypervisorProblem problem, string message, string? remedy = null, Exception? inner = null)
    : Exception(remedy is null ? message : $"{message}. {remedy}", inner)
{
    public HypervisorProblem Problem { get; } = problem;
    public string? Remedy { get; } = remedy;

    internal static HypervisorException NoSuchMachine(string name) => new(HypervisorProblem.NoSuchMachine, $"there is no machine {name}");

    /// <summary>The replica's name is another machine's: the old source's own, say, which was left on its host.</summary>
    public static HypervisorException NotOurs(string name) => new(HypervisorProblem.Conflict,
        $"there is another machine {name} on the replica's host, which is not this replica and is left alone",
        $"Shut that one down, and rename or undefine it there, without its disks (virsh domrename {name} {name}-old, virsh undefine {name})");

    internal static HypervisorException StopsAgain(string name) => new(HypervisorProblem.Refused,
        $"the machine {name} was stopped by an error of one of its disks, and stops again as soon as it is continued", "Make room for its disks or mend what is under them; it is continued by itself then");

    internal static HypervisorException StillRuns(string name, string what) => new(HypervisorProblem.Refused, $"the machine {name} runs and cannot be {what}", "Stop it first");
}
