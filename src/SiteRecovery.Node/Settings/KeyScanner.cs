using System.Text;

namespace SiteRecovery.Node.Settings;

/// <summary>Finds where each key of a HOCON text stands, which Akka's parser does not tell.</summary>
public static class KeyScanner
{
    /// <summary>Full path and 1-based line of every key that has a value of its own, in the order of the text.</summary>
    public static IReadOnlyList<(string Key, int Line)> Scan(string text)
    {
        var found = new List<(string, int)>();
        var open = new Stack<string>();
        var word = new StringBuilder();
        var (line, i) = (1, 0);
        while (i < text.Length)
        {
            var c = text[i];
            if (IsComment(text, i)) i = LineEnd(text, i);
            else if (c is '"') i = CopyQuoted(text, i, word);
            else if (c is '{')
            {
                open.Push(word.ToString().Trim());
                word.Clear();
                i++;
            }
            else if (c is '}')
            {
                if (open.Count > 0) open.Pop();
                word.Clear();
                i++;
            }
            else if (c is '=' or ':')
            {
                i++;
                while (At(text, i) is ' ' or '\t') i++;
                if (At(text, i) is '{') continue;
                found.Add((Path(open, word), line));
                word.Clear();
                var end = ValueEnd(text, i);
                line += text.AsSpan(i, end - i).Count('\n');
                i = end;
            }
            else
            {
                if (c is '\n') line++;
                if (c is '\n' or ',') word.Clear();
                else word.Append(c);
                i++;
            }
        }
        return found;
    }

    private static string Path(Stack<string> open, StringBuilder word) =>
        string.Join('.', open.Reverse().Append(word.ToString().Trim()).Where(p => p.Length > 0));

    private static char At(string text, int i) => i < text.Length ? text[i] : '\0';

    internal static bool IsComment(string text, int i) => text[i] is '#' || (text[i] is '/' && At(text, i + 1) is '/');

    internal static int LineEnd(string text, int i)
    {
        var end = text.IndexOf('\n', i);
        return end < 0 ? text.Length : end;
    }

    private static int CopyQuoted(string text, int i, StringBuilder into)
    {
        var end = QuotedEnd(text, i);
        into.Append(text.AsSpan(i, end - i).Trim('"'));
        return end;
    }

    internal static int QuotedEnd(string text, int i) => QuotedEnd(text, i, out _);

    internal static int QuotedEnd(string text, int i, out bool isClosed)
    {
        var triple = text.AsSpan(i).StartsWith("\"\"\"");
        var mark = triple ? "\"\"\"" : "\"";
        var end = i + mark.Length;
        while (end < text.Length && !text.AsSpan(end).StartsWith(mark)) end += !triple && text[end] is '\\' ? 2 : 1;
        isClosed = end < text.Length;
        return Math.Min(text.Length, end + mark.Length);
    }

    // A value ends at the line's end, a comma or a closing brace, except inside quotes and brackets.
    private static int ValueEnd(string text, int i)
    {
        for (var depth = 0; i < text.Length;)
        {
            var c = text[i];
            if (c is '"') i = QuotedEnd(text, i);
            else if (IsComment(text, i)) i = LineEnd(text, i);
            else if (depth == 0 && c is '\n' or ',' or '}' && depth == 0) return i;
            else
            {
                if (c is '[') depth++;
                if (c is ']') depth--;
                i++;
            }
        }
        return i;
    }
}
