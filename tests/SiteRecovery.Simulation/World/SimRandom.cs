using System.Runtime.Intrinsics;

namespace SiteRecovery.Simulation.World;

/// <summary>The numbers of <see cref="Random"/> of a seed, with many bytes at once: a guest's data are most of what a run has drawn. Not safe for concurrent calls.</summary>
/// <remarks>Knuth's: each number is the one 55 before it less the one 34 before it, so that 34 of them can be made side by side.</remarks>
internal sealed class SimRandom
{
    private const int Lag = 55, Ahead = 21, AtOnce = 32;
    /// <summary>The last 55 numbers, the oldest first, and room for what comes next.</summary>
    private readonly int[] _numbers = new int[Lag + RoomFor];
    private const int RoomFor = 512;
    private int _oldest;

    internal SimRandom(int seed)
    {
        var state = new int[Lag + 1];
        var (last, next) = (161803398 - (seed == int.MinValue ? int.MaxValue : Math.Abs(seed)), 1);
        state[Lag] = last;
        for (int i = 1, at = 0; i < Lag; i++)
        {
            at = (at + Ahead) % Lag;
            state[at] = next;
            next = last - next;
            if (next < 0) next += int.MaxValue;
            last = state[at];
        }
        for (var round = 0; round < 4; round++)
            for (var i = 1; i <= Lag; i++)
            {
                state[i] -= state[1 + (i + 30) % Lag];
                if (state[i] < 0) state[i] += int.MaxValue;
            }
        state.AsSpan(1).CopyTo(_numbers);
    }

    /// <summary>From 0 up to, but not, a bound.</summary>
    internal int Next(int bound)
    {
        MakeRoom(1);
        var number = _numbers[_oldest] - _numbers[_oldest + Ahead];
        if (number == int.MaxValue) number--;
        if (number < 0) number += int.MaxValue;
        _numbers[_oldest++ + Lag] = number;
        return (int)(number * (1.0 / int.MaxValue) * bound);
    }

    internal int Next(int from, int bound) => Next(bound - from) + from;

    internal void NextBytes(Span<byte> into)
    {
        for (; into.Length >= AtOnce; into = into[AtOnce..])
        {
            MakeRoom(AtOnce);
            var numbers = _numbers.AsSpan(_oldest, Lag + AtOnce);
            var (a, b, c, d) = (Eight(numbers, 0), Eight(numbers, 8), Eight(numbers, 16), Eight(numbers, 24));
            Vector256.Narrow(Vector256.Narrow(a, b), Vector256.Narrow(c, d)).CopyTo(into);
            _oldest += AtOnce;
        }
        for (var i = 0; i < into.Length; i++)
        {
            Next(1);
            into[i] = (byte)_numbers[_oldest + Lag - 1];
        }
    }

    /// <returns>Their lowest bytes.</returns>
    private static Vector256<uint> Eight(Span<int> numbers, int at)
    {
        var some = Vector256.Create<int>(numbers[at..]) - Vector256.Create<int>(numbers[(at + Ahead)..]);
        some += Vector256.Equals(some, Vector256.Create(int.MaxValue)); // that is minus one
        some += Vector256.ShiftRightArithmetic(some, 31) & Vector256.Create(int.MaxValue);
        some.CopyTo(numbers[(at + Lag)..]);
        return some.AsUInt32() & Vector256.Create(0xFFu);
    }

    private void MakeRoom(int numbers)
    {
        if (_oldest + Lag + numbers <= _numbers.Length) return;
        _numbers.AsSpan(_oldest, Lag).CopyTo(_numbers);
        _oldest = 0;
    }
}
