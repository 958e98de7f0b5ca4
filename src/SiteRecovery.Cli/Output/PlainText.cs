using System.Text;

namespace SiteRecovery.Cli.Output;

/// <summary>What others wrote must not steer the terminal that it is shown on: agents' errors, names that hypervisors have, paths in the audit log.</summary>
internal static class PlainText
{
    private const char InPlaceOf = '?';

    public static string Of(string text) => text.Any(IsControl) ? string.Create(text.Length, text, (shown, from) =>
    {
        for (var i = 0; i < shown.Length; i++) shown[i] = Of(from[i]);
    }) : text;

    public static char Of(char character) => IsControl(character) ? InPlaceOf : character;

    /// <summary>All that is written passes through <see cref="Of(string)"/>.</summary>
    public static TextWriter On(TextWriter writer) => writer as Writer ?? new Writer(writer);

    private static bool IsControl(char character) => char.IsControl(character) && character is not ('\n' or '\t');

    private sealed class Writer(TextWriter writer) : TextWriter
    {
        public override Encoding Encoding => writer.Encoding;
        public override void Write(char value) => writer.Write(Of(value));
        public override void Write(string? value) => writer.Write(value is null ? null : Of(value));
        public override void WriteLine(string? value) => writer.WriteLine(value is null ? null : Of(value));
        public override void Flush() => writer.Flush();
    }
}
