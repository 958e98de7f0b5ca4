namespace SiteRecovery.Fuzzing.Targets;

/// <summary>What one input may be read by.</summary>
internal sealed record Reader(IReadOnlyList<byte[]> Samples, Action<byte[]> Read);

/// <summary>Several readers: the first byte says which of them the rest is for.</summary>
internal abstract class ManyReadersTarget : FuzzTarget
{
    protected abstract IReadOnlyList<Reader> Readers { get; }
    internal override int SelectorBytes => 1;

    internal override IEnumerable<byte[]> Seeds() => Readers.SelectMany((reader, i) => reader.Samples.Select(s => (byte[])[(byte)i, .. s]));

    internal override void Run(byte[] input)
    {
        if (input.Length > 0) Readers[input[0] % Readers.Count].Read(input[1..]);
    }
}
