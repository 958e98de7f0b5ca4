using System.Buffers;

namespace SiteRecovery.Node.Settings;

/// <summary>
/// Whether a text has the shape of HOCON: keys with values, brackets that match. Akka's parser does not come back from some texts that have not, and goes as deep as the text does,
/// which ends the process.
/// </summary>
internal sealed class HoconShape
{
    private const int DepthMax = 64;
    private const string NeverBare = "$`^?!@*&\\";
    private static readonly SearchValues<char> Control = SearchValues.Create([.. Enumerable.Range(0, 32).Select(c => (char)c).Except(['\t', '\r', '\n'])]);
    private readonly string _text;
    private int _at, _depth;
    private bool _quotesBehindQuotes, _openQuotes;

    private HoconShape(string text) => _text = text;

    /// <summary>What is wrong and in which line, from 1; null: nothing.</summary>
    internal static (int Line, string What)? Problem(string text)
    {
        // A null is the end of the text to Akka's parser, wherever it stands.
        if (text.AsSpan().IndexOfAny(Control) is var at and >= 0) return (1 + text.AsSpan(0, at).Count('\n'), "a control character");
        var shape = new HoconShape(text);
        var what = shape.Root();
        return what is null ? null : (1 + text.AsSpan(0, Math.Min(shape._at, text.Length)).Count('\n'), what);
    }

    private char Now => _at < _text.Length ? _text[_at] : '\0';
    private bool IsNeverBare => _openQuotes || !IsOver && (_quotesBehindQuotes || NeverBare.Contains(Now, StringComparison.Ordinal) || IsRunOfQuotes);
    private string OutsideOfQuotes => _openQuotes ? "quotes are not closed" : _quotesBehindQuotes ? "quotes right behind quotes" : IsRunOfQuotes ? $"{Quotes} quotes in a row" : $"'{Now}' outside of quotes";
    /// <summary>One or two, three that begin a long text, or six that are an empty one: of any other number Akka's parser takes other ones for the text than we do.</summary>
    private bool IsRunOfQuotes => Quotes is not (<= 3 or 6);
    private int Quotes => _text.AsSpan(Math.Min(_at, _text.Length)).IndexOfAnyExcept('"') is var run and >= 0 ? run : _text.Length - _at;
    private bool IsOver => _at >= _text.Length;

    private string? Root()
    {
        Skip(overCommas: false);
        if (Now != '{') return Fields('\0');
        if (Body() is { } wrong) return wrong;
        Skip(overCommas: true);
        return IsOver ? null : "something follows the last '}'";
    }

    private string? Body()
    {
        if (++_depth > DepthMax) return $"more than {DepthMax} brackets are open";
        _at++;
        var wrong = Fields('}');
        _depth--;
        return wrong;
    }

    private string? Fields(char end)
    {
        while (true)
        {
            Skip(overCommas: true);
            if (IsOver) return end == '\0' ? null : "'{' is not closed";
            if (Now == '}' && end == '}')
            {
                _at++;
                return null;
            }
            if (Field() is { } wrong) return wrong;
        }
    }

    private string? Field()
    {
        var begun = _at;
        Text(",{}[]=:+");
        if (IsNeverBare) return OutsideOfQuotes;
        var key = _text[begun.._at].Trim();
        if (key.Length == 0) return $"'{Now}' where a key is expected";
        Skip(overCommas: false);
        if (Now == '{') return Body();
        if (Now == '+' && _at + 1 < _text.Length && _text[_at + 1] == '=') _at++;
        if (Now is not ('=' or ':'))
        {
            _at = begun;
            return $"'{key}' has no value";
        }
        _at++;
        Skip(overCommas: false);
        return Value(",{}[]", key);
    }

    private string? Value(string ends, string of)
    {
        if (Now == '{') return Body();
        if (Now == '[') return List();
        var begun = _at;
        Text(ends);
        if (IsNeverBare) return OutsideOfQuotes;
        if (_at == begun) return $"'{of}' has no value";
        return Now is '{' or '[' ? $"'{Now}' within a text" : null;
    }

    private string? List()
    {
        if (++_depth > DepthMax) return $"more than {DepthMax} brackets are open";
        _at++;
        while (true)
        {
            Skip(overCommas: true);
            if (IsOver) return "'[' is not closed";
            if (Now == ']')
            {
                _at++;
                _depth--;
                return null;
            }
            if (Value(",{}[]=:", "the list") is { } wrong) return wrong;
            if (Now is '=' or ':' or '}') return $"'{Now}' in a list: put the text in quotes";
        }
    }

    /// <summary>Up to the end of the line, a comment, or one of those; what is in quotes is passed over.</summary>
    private void Text(string ends)
    {
        while (!IsOver && Now != '\n' && !ends.Contains(Now, StringComparison.Ordinal) && !IsNeverBare && !KeyScanner.IsComment(_text, _at))
        {
            var quoted = Now == '"';
            if (!quoted) _at++;
            else
            {
                var end = KeyScanner.QuotedEnd(_text, _at, out var isClosed);
                if (_openQuotes = !isClosed) return;
                _at = end;
            }
            // Of four and more behind a long text Akka's parser takes other ones for its end than we do.
            _quotesBehindQuotes = quoted && Now == '"';
        }
    }

    private void Skip(bool overCommas)
    {
        while (!IsOver && (char.IsWhiteSpace(Now) || (overCommas && Now == ',') || KeyScanner.IsComment(_text, _at))) _at = KeyScanner.IsComment(_text, _at) ? KeyScanner.LineEnd(_text, _at) : _at + 1;
    }
}
