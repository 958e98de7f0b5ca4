using System.Globalization;
using System.Net;
using System.Text;

namespace SiteRecovery.Benchmarks;

/// <summary>A picture of figures over one quantity: points with the spread of their rounds, joined by lines. Both axes begin at zero.</summary>
public sealed class LineChart(string title, string across, string up)
{
    private const int Width = 760, Height = 420, Left = 72, Right = 24, Top = 44, Bottom = 96, Ticks = 5;
    private static readonly string[] Colours = ["#1f6fb2", "#c2571a", "#3a8a3d", "#7d4fa0"];
    private readonly List<(string Name, List<(double X, double[] Rounds)> Points)> _series = [];

    public string Title => title;

    public void Add(string series, double x, params double[] rounds)
    {
        var index = _series.FindIndex(s => s.Name == series);
        if (index < 0)
        {
            index = _series.Count;
            _series.Add((series, []));
        }
        _series[index].Points.Add((x, rounds));
    }

    public string ToSvg()
    {
        var (xMax, yMax) = (Ceiling(_series.Max(s => s.Points.Max(p => p.X))), Ceiling(_series.Max(s => s.Points.Max(p => p.Rounds.Max()))));
        double X(double x) => Left + x / xMax * (Width - Left - Right);
        double Y(double y) => Height - Bottom - y / yMax * (Height - Top - Bottom);
        var svg = new StringBuilder();
        Line(svg, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">");
        Line(svg, $"<rect width=\"{Width}\" height=\"{Height}\" fill=\"#fff\"/>");
        Line(svg, $"<text x=\"{Left}\" y=\"24\" font-size=\"16\">{Escaped(title)}</text>");
        for (var i = 0; i <= Ticks; i++)
        {
            var (x, y) = (xMax * i / Ticks, yMax * i / Ticks);
            Line(svg, $"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(y):0.#}\" y2=\"{Y(y):0.#}\" stroke=\"{(i == 0 ? "#222" : "#ddd")}\"/>");
            Line(svg, $"<text x=\"{Left - 8}\" y=\"{Y(y) + 4:0.#}\" text-anchor=\"end\">{y:0.###}</text>");
            Line(svg, $"<text x=\"{X(x):0.#}\" y=\"{Height - Bottom + 20}\" text-anchor=\"middle\">{x:0.###}</text>");
        }
        Line(svg, $"<text x=\"{(Left + Width - Right) / 2}\" y=\"{Height - Bottom + 42}\" text-anchor=\"middle\">{Escaped(across)}</text>");
        Line(svg, $"<text transform=\"translate(18 {(Top + Height - Bottom) / 2}) rotate(-90)\" text-anchor=\"middle\">{Escaped(up)}</text>");
        for (var n = 0; n < _series.Count; n++)
        {
            var (name, points, colour) = (_series[n].Name, _series[n].Points.OrderBy(p => p.X).ToList(), Colours[n % Colours.Length]);
            var path = string.Join(' ', points.Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(p.X):0.#},{Y(Node.Bench.Measurements.Median(p.Rounds)):0.#}")));
            Line(svg, $"<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            foreach (var (x, rounds) in points)
            {
                Line(svg, $"<line x1=\"{X(x):0.#}\" x2=\"{X(x):0.#}\" y1=\"{Y(rounds.Min()):0.#}\" y2=\"{Y(rounds.Max()):0.#}\" stroke=\"{colour}\"/>");
                Line(svg, $"<circle cx=\"{X(x):0.#}\" cy=\"{Y(Node.Bench.Measurements.Median(rounds)):0.#}\" r=\"3.5\" fill=\"{colour}\"/>");
            }
            var at = Left + n % 2 * (Width - Left - Right) / 2;
            var row = Height - 28 + n / 2 * 18;
            Line(svg, $"<rect x=\"{at}\" y=\"{row - 10}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{at + 18}\" y=\"{row}\">{Escaped(name)}</text>");
        }
        Line(svg, $"</svg>");
        return svg.ToString();
    }

    /// <summary>1, 2, 2.5, 5 or 10 times a power of ten: five ticks of it are round.</summary>
    private static double Ceiling(double most)
    {
        if (most <= 0) return 1;
        var power = Math.Pow(10, Math.Floor(Math.Log10(most)));
        return ((double[])[1, 1.5, 2, 2.5, 4, 5, 7.5, 10]).First(s => s * power >= most * 0.9999) * power;
    }

    private static string Escaped(string text) => WebUtility.HtmlEncode(text);

    private static void Line(StringBuilder svg, FormattableString text) => svg.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
