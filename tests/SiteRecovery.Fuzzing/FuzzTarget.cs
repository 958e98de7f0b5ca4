namespace SiteRecovery.Fuzzing;

/// <summary>Something that reads bytes which others have made.</summary>
internal abstract class FuzzTarget : IDisposable
{
    private const long AllocatedMin = 1 << 20;

    internal abstract string Name { get; }

    /// <summary>What the real writers make.</summary>
    internal abstract IEnumerable<byte[]> Seeds();

    /// <summary>Words of the format, for the mutator to put anywhere.</summary>
    internal virtual IReadOnlyList<byte[]> Words => [];

    /// <summary>Text: what is put in is mostly text too.</summary>
    internal virtual bool IsText => false;

    /// <summary>So many bytes say for whom the rest is.</summary>
    internal virtual int SelectorBytes => 0;

    internal virtual int InputBytesMax => 64 << 10;

    /// <summary>Reads it, and does with what was read what its reader does.</summary>
    internal abstract void Run(byte[] input);

    /// <summary>Makes checksums and lengths right again, so that a change gets beyond them.</summary>
    internal virtual void Repair(byte[] input, Random random)
    {
    }

    /// <summary>What the reader says that it throws at what it cannot read.</summary>
    internal virtual bool Expects(Exception refusal) => refusal is InvalidDataException or EndOfStreamException;

    /// <summary>What reading may allocate, in bytes: a constant, and a few times the input.</summary>
    internal virtual long AllocatedMax(int inputBytes) => AllocatedMin + 64L * inputBytes;

    /// <summary>What is read by threads of its own is charged to the whole process, which measures other things too.</summary>
    internal virtual bool AllocatesElsewhere => false;

    public virtual void Dispose() => GC.SuppressFinalize(this);
}
