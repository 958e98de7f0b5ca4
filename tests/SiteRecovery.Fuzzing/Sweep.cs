using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace SiteRecovery.Fuzzing;

/// <summary>
/// Each number of each input that the real writers make, as another: no dice, and no place left out. Where an input takes long it finds in minutes what chance would find in days.
/// </summary>
internal static partial class Sweep
{
    /// <summary>Numbers in digits, and numbers in bytes where there is any byte that is no text.</summary>
    internal static IEnumerable<byte[]> Of(FuzzTarget target, byte[] sample) => Texts(target, sample).Concat(IsBinary(sample.AsSpan(target.SelectorBytes)) ? Numbers(target, sample) : []);

    internal static IEnumerable<byte[]> Texts(FuzzTarget target, byte[] sample)
    {
        var text = Encoding.Latin1.GetString(sample, target.SelectorBytes, sample.Length - target.SelectorBytes);
        foreach (Match digits in Digits().Matches(text))
        {
            if (!long.TryParse(digits.Value, CultureInfo.InvariantCulture, out var value)) continue;
            foreach (var other in (long[])[0, 1, -1, value - 1, value + 1, value * 2, int.MaxValue, long.MaxValue, long.MinValue])
                yield return Repaired(target, [.. sample.AsSpan(0, target.SelectorBytes), .. Encoding.Latin1.GetBytes(string.Concat(text.AsSpan(0, digits.Index), other.ToString(CultureInfo.InvariantCulture), text.AsSpan(digits.Index + digits.Length)))]);
        }
    }

    private static IEnumerable<byte[]> Numbers(FuzzTarget target, byte[] sample)
    {
        for (var at = target.SelectorBytes; at + 4 <= sample.Length; at += 4)
        {
            var value = BinaryPrimitives.ReadInt32LittleEndian(sample.AsSpan(at));
            foreach (var other in new HashSet<int> { 0, 1, -1, value - 1, value + 1, value * 2, int.MaxValue, int.MinValue })
            {
                if (other == value) continue;
                var changed = sample.ToArray();
                BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(at), other);
                yield return Repaired(target, changed);
            }
        }
    }

    private static byte[] Repaired(FuzzTarget target, byte[] input)
    {
        target.Repair(input, new Random(1));
        return input;
    }

    private static bool IsBinary(ReadOnlySpan<byte> bytes) => bytes.ContainsAnyInRange((byte)0, (byte)8);

    /// <summary>Whole numbers by themselves: what dates, hashes and names are made of is left to chance.</summary>
    [GeneratedRegex(@"(?<![\w.-])(?<!\d:)-?\d+(?![\w.:-])")]
    private static partial Regex Digits();
}
