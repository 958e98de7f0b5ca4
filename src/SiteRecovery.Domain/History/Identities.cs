using System.Globalization;

namespace SiteRecovery.Domain.History;

/// <summary>Name of a protected machine: 1–63 of a–z, 0–9, '-' and '.', starting with a letter or digit.</summary>
public readonly record struct MachineId(string Value)
{
    public static bool IsValid(string? text) =>
        text is { Length: >= 1 and <= 63 } && char.IsAsciiLetterOrDigit(text[0]) &&
        text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '.');

    /// <summary>FNV-1a, the same in every process: what goes through machines by their hash goes through them in the same order each time, which the simulator builds on.</summary>
    public override int GetHashCode()
    {
        var hash = 2166136261u;
        foreach (var c in Value ?? "") hash = (hash ^ c) * 16777619;
        return (int)hash;
    }

    public override string ToString() => Value;
}

/// <summary>Position of a write in a machine's history: 1 is the first write, 0 is "nothing yet". One order over all its disks.</summary>
public readonly record struct Sequence(long Value) : IComparable<Sequence>
{
    public static Sequence None => new(0);
    public Sequence Next() => new(Value + 1);
    public int CompareTo(Sequence other) => Value.CompareTo(other.Value);
    public static bool operator <(Sequence a, Sequence b) => a.Value < b.Value;
    public static bool operator >(Sequence a, Sequence b) => a.Value > b.Value;
    public static bool operator <=(Sequence a, Sequence b) => a.Value <= b.Value;
    public static bool operator >=(Sequence a, Sequence b) => a.Value >= b.Value;
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>A branch of a machine's history that has exactly one writer. 1 is the first; a failover opens the next.</summary>
public readonly record struct Epoch(int Value) : IComparable<Epoch>
{
    public static Epoch First => new(1);
    public Epoch Next() => new(Value + 1);
    public int CompareTo(Epoch other) => Value.CompareTo(other.Value);
    public static bool operator <(Epoch a, Epoch b) => a.Value < b.Value;
    public static bool operator >(Epoch a, Epoch b) => a.Value > b.Value;
    public static bool operator <=(Epoch a, Epoch b) => a.Value <= b.Value;
    public static bool operator >=(Epoch a, Epoch b) => a.Value >= b.Value;
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}
