using System.Buffers.Binary;

namespace SiteRecovery.Fuzzing;

/// <summary>Makes an input out of one or two others, the same for the same seed.</summary>
internal sealed class Mutator(Random random, FuzzTarget target)
{
    private const int StackedMax = 6;
    private static readonly long[] Interesting =
        [0, 1, -1, 7, 8, 16, 64, 127, 128, 255, 256, 4095, 4096, 4097, 32767, 32768, 65535, 65536, 1 << 20, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, long.MaxValue, long.MinValue, long.MaxValue - 4095];

    internal byte[] Mutate(byte[] from, byte[] other)
    {
        var bytes = new List<byte>(from);
        for (var left = random.Next(1, StackedMax); left > 0; left--) Step(bytes, other);
        if (bytes.Count > target.InputBytesMax) bytes.RemoveRange(target.InputBytesMax, bytes.Count - target.InputBytesMax);
        var input = bytes.ToArray();
        // Most must get beyond the checksums; the rest shows that these hold.
        if (random.Next(5) > 0) target.Repair(input, random);
        return input;
    }

    private void Step(List<byte> bytes, byte[] other)
    {
        switch (bytes.Count == 0 ? 6 : random.Next(11))
        {
            case 0: bytes[At(bytes)] ^= (byte)(1 << random.Next(8)); break;
            case 1: bytes[At(bytes)] = target.IsText ? (byte)random.Next(32, 127) : (byte)random.Next(256); break;
            case 2 or 3: Number(bytes); break;
            case 4: bytes.RemoveRange(At(bytes) is var at ? at : 0, Math.Min(Length(bytes.Count), bytes.Count - at)); break;
            case 5: bytes.RemoveRange(At(bytes) is var end ? end : 0, bytes.Count - end); break;
            case 6: bytes.InsertRange(random.Next(bytes.Count + 1), Fresh()); break;
            case 7: Copy(bytes, [.. bytes]); break;
            case 8: Copy(bytes, other); break;
            case 9: Splice(bytes, other); break;
            default: Word(bytes); break;
        }
    }

    /// <summary>In either byte order and any width, in place: lengths, counts and offsets are what breaks a reader.</summary>
    private void Number(List<byte> bytes)
    {
        var width = 1 << random.Next(4);
        if (bytes.Count < width) return;
        // Fields are aligned more often than not.
        var at = random.Next(bytes.Count - width + 1);
        if (random.Next(3) > 0) at -= at % width;
        var span = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(bytes)[at..];
        var value = random.Next(4) switch
        {
            0 => random.NextInt64() >> random.Next(64),
            1 => bytes.Count + random.Next(-4, 5),
            _ => Interesting[random.Next(Interesting.Length)],
        };
        Span<byte> number = stackalloc byte[8];
        if (random.Next(2) == 0) BinaryPrimitives.WriteInt64LittleEndian(number, value);
        else BinaryPrimitives.WriteInt64BigEndian(number, value << (64 - 8 * width));
        number[..width].CopyTo(span);
    }

    private void Copy(List<byte> bytes, byte[] from)
    {
        if (from.Length == 0) return;
        var start = random.Next(from.Length);
        var part = from.AsSpan(start, Math.Min(Length(from.Length), from.Length - start));
        if (random.Next(2) == 0) bytes.InsertRange(random.Next(bytes.Count + 1), part.ToArray());
        else
        {
            var into = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(bytes)[At(bytes)..];
            part[..Math.Min(part.Length, into.Length)].CopyTo(into);
        }
    }

    private void Splice(List<byte> bytes, byte[] other)
    {
        var (keep, from) = (random.Next(bytes.Count + 1), random.Next(other.Length + 1));
        bytes.RemoveRange(keep, bytes.Count - keep);
        bytes.AddRange(other.AsSpan(from));
    }

    private void Word(List<byte> bytes)
    {
        if (target.Words.Count == 0) return;
        bytes.InsertRange(random.Next(bytes.Count + 1), target.Words[random.Next(target.Words.Count)]);
    }

    private byte[] Fresh()
    {
        var fresh = new byte[Length(64)];
        if (random.Next(3) == 0) Array.Fill(fresh, target.IsText ? (byte)random.Next(32, 127) : (byte)random.Next(256));
        else if (!target.IsText) random.NextBytes(fresh);
        else for (var i = 0; i < fresh.Length; i++) fresh[i] = (byte)random.Next(32, 127);
        return fresh;
    }

    private int At(List<byte> bytes) => random.Next(bytes.Count);

    /// <summary>Short mostly.</summary>
    private int Length(int most) => 1 + random.Next(1 + random.Next(Math.Max(1, most)));
}
