using System.Collections.Concurrent;
using System.Diagnostics;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Benchmarks;

/// <summary>The operating system's files with a stopwatch and a counter on what is written and flushed, by the folder in which it lies.</summary>
public sealed class MeteredFiles : IFileSystem
{
    private static readonly RealFileSystem Real = RealFileSystem.Instance;
    private readonly ConcurrentDictionary<string, Meter> _meters = new();

    /// <summary>Times are summed over threads.</summary>
    public sealed class Meter
    {
        private long _bytesWritten, _writing, _flushes, _flushing;

        public long BytesWritten => Interlocked.Read(ref _bytesWritten);
        public long Flushes => Interlocked.Read(ref _flushes);
        public TimeSpan Writing => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _writing));
        public TimeSpan Flushing => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _flushing));

        internal void Wrote(long began, int bytes)
        {
            Interlocked.Add(ref _writing, Stopwatch.GetTimestamp() - began);
            Interlocked.Add(ref _bytesWritten, bytes);
        }

        internal void Flushed(long began)
        {
            Interlocked.Add(ref _flushing, Stopwatch.GetTimestamp() - began);
            Interlocked.Increment(ref _flushes);
        }
    }

    /// <param name="folder">Its last name: "log" or "base" of a store.</param>
    public Meter Of(string folder) => _meters.GetOrAdd(folder, _ => new Meter());

    public IBlockFile Open(string path, FileOpening how) => new MeteredFile(Real.Open(path, how), Of(Path.GetFileName(Path.GetDirectoryName(path)!)));
    public bool Exists(string path) => Real.Exists(path);
    public bool FolderExists(string path) => Real.FolderExists(path);
    public void CreateDirectory(string path) => Real.CreateDirectory(path);
    public IReadOnlyList<string> List(string folder) => Real.List(folder);
    public IReadOnlyList<string> Folders(string folder) => Real.Folders(folder);
    public byte[]? TryReadAll(string path) => Real.TryReadAll(path);
    public void Replace(string path, ReadOnlySpan<byte> content) => Real.Replace(path, content);
    public void Delete(string path) => Real.Delete(path);
    public void DeleteFolder(string path) => Real.DeleteFolder(path);
    public void Rename(string from, string to) => Real.Rename(from, to);
    public void FlushFolder(string folder) => Real.FlushFolder(folder);
    public long FreeBytes(string path) => Real.FreeBytes(path);

    private sealed class MeteredFile(IBlockFile file, Meter meter) : IBlockFile
    {
        public long LengthBytes => file.LengthBytes;
        public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);
        public void Read(long offset, Span<byte> into) => file.Read(offset, into);
        public void Zero(long offset, long length) => file.Zero(offset, length);
        public (long Length, bool Hole) RunAt(long offset) => file.RunAt(offset);
        public void Dispose() => file.Dispose();

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            var began = Stopwatch.GetTimestamp();
            file.Write(offset, from);
            meter.Wrote(began, from.Length);
        }

        public void Flush()
        {
            var began = Stopwatch.GetTimestamp();
            file.Flush();
            meter.Flushed(began);
        }
    }
}
