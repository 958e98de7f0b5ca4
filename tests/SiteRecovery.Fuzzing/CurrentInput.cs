using System.IO.MemoryMappedFiles;

namespace SiteRecovery.Fuzzing;

/// <summary>
/// The input that is being read, where it survives the process: a reader that overflows the stack, is killed for its memory or does not come back leaves it
/// behind. The process ends itself when one takes too long.
/// </summary>
internal sealed class CurrentInput : IDisposable
{
    internal const int HangCode = 70;
    private const int InputBytesMax = 1 << 20;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly Timer _watch;
    private long _number, _watched = -1;

    internal CurrentInput(string path)
    {
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Create, null, 4 + InputBytesMax);
        _view = _file.CreateViewAccessor();
        _watch = new Timer(_ => Watch(), null, Fuzzer.InputPatience, Fuzzer.InputPatience);
    }

    internal void Set(byte[] input)
    {
        _view.Write(0, Math.Min(input.Length, InputBytesMax));
        _view.WriteArray(4, input, 0, Math.Min(input.Length, InputBytesMax));
        Interlocked.Increment(ref _number);
    }

    /// <summary>What a process that is gone was reading.</summary>
    internal static byte[] Left(string path)
    {
        var bytes = File.ReadAllBytes(path);
        return bytes[4..(4 + BitConverter.ToInt32(bytes))];
    }

    private void Watch()
    {
        var number = Interlocked.Read(ref _number);
        if (number == _watched) Environment.Exit(HangCode);
        _watched = number;
    }

    public void Dispose()
    {
        _watch.Dispose();
        _view.Dispose();
        _file.Dispose();
    }
}
