using System.Buffers.Binary;

namespace SiteRecovery.Node.Demo.Guest;

/// <summary>Machine code with names for its places, so that no distance is counted by hand.</summary>
internal sealed class MachineCode
{
    private readonly List<byte> _bytes = [];
    private readonly Dictionary<string, int> _places = new(StringComparer.Ordinal);
    private readonly List<(int At, int Bytes, string Place)> _open = [];

    internal MachineCode Put(params ReadOnlySpan<byte> code)
    {
        _bytes.AddRange(code);
        return this;
    }

    internal MachineCode Word(int value) => Put((byte)value, (byte)(value >> 8));

    internal MachineCode Double(uint value) => Word((int)(value & 0xFFFF)).Word((int)(value >> 16));

    internal MachineCode Place(string name)
    {
        _places.Add(name, _bytes.Count);
        return this;
    }

    /// <summary>The distance from the next instruction, as a byte.</summary>
    internal MachineCode Near(string place) => Distance(place, 1);

    /// <summary>The same as a word.</summary>
    internal MachineCode Far(string place) => Distance(place, 2);

    /// <exception cref="InvalidOperationException">A place is missing, or too far away for a byte.</exception>
    internal byte[] ToBytes(int lengthMax)
    {
        var code = _bytes.ToArray();
        foreach (var (at, bytes, place) in _open)
        {
            var distance = _places[place] - (at + bytes);
            if (bytes == 2) BinaryPrimitives.WriteInt16LittleEndian(code.AsSpan(at), (short)distance);
            else code[at] = (byte)checked((sbyte)distance);
        }
        return code.Length <= lengthMax ? code : throw new InvalidOperationException($"the code has {code.Length} bytes, and {lengthMax} are the most");
    }

    private MachineCode Distance(string place, int bytes)
    {
        _open.Add((_bytes.Count, bytes, place));
        return Put(stackalloc byte[bytes]);
    }
}
