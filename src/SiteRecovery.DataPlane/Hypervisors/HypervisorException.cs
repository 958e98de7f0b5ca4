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
}

/// <summary>What the hypervisor does not do, why, and what the operator can do about it.</summary>
public sealed class HypervisorException(HypervisorProblem problem, string message, string? remedy = null, Exception? inner = null)
    : Exception(remedy is null ? message : $"{message}. {remedy}", inner)
{
    public HypervisorProblem Problem { get; } = problem;
    public string? Remedy { get; } = remedy;

    internal static HypervisorException NoSuchMachine(string name) => new(HypervisorProblem.NoSuchMachine, $"there is no machine {name}");

    internal static HypervisorException NotOurs(string name) => new(HypervisorProblem.Conflict,
        $"the machine {name} was not made by SiteRecovery and is left alone", "Give the replica another name, or rename that machine");

    internal static HypervisorException StopsAgain(string name) => new(HypervisorProblem.Refused,
        $"the machine {name} was stopped by an error of one of its disks, and stops again as soon as it is continued", "Make room for its disks or mend what is under them; it is continued by itself then");

    internal static HypervisorException StillRuns(string name, string what) => new(HypervisorProblem.Refused, $"the machine {name} runs and cannot be {what}", "Stop it first");
}
