namespace SiteRecovery.Domain.Results;

/// <summary>
/// Names one command for ever, so that repeating it is harmless: 1–128 of letters, digits, '-', '_' and ':'.
/// No '.', because a job's id is "{machine}.{command}" and is read from its last dot.
/// </summary>
public readonly record struct CommandId(string Value)
{
    public const int LengthMax = 128;

    public static bool IsValid(string? text) =>
        text is { Length: >= 1 and <= LengthMax } && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or ':');

    public override string ToString() => Value;
}
