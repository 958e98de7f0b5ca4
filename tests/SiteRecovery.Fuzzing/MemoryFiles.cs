using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Fuzzing;

/// <summary>Files in memory. A file that would become too long is a full disk.</summary>
internal sealed class MemoryFiles : IFileSystem
{
    private const int FileBytesMax = 32 << 20;
    private readonly Dictionary<string, byte[]> _files = new(StringComparer.Ordinal);

    internal MemoryFiles()
    {
    }

    private MemoryFiles(Dictionary<string, byte[]> files) => _files = new(files, StringComparer.Ordinal);

    internal IEnumerable<string> Paths => _files.Keys.Order(StringComparer.Ordinal);

    /// <summary>A copy whose files are written to without these being changed.</summary>
    internal MemoryFiles Fork() => new(_files);

    internal byte[] this[string path] { get => _files[path]; set => _files[path] = value; }

    public IBlockFile Open(string path, FileOpening how)
    {
        lock (_files)
        {
            if (!_files.ContainsKey(path))
            {
                if (how != FileOpening.Create) throw new FileNotFoundException(path);
                _files[path] = [];
            }
            return new MemoryFile(this, path);
        }
    }

    public bool Exists(string path)
    {
        lock (_files) return _files.ContainsKey(path);
    }

    public bool FolderExists(string path)
    {
        lock (_files) return _files.Keys.Any(p => p.StartsWith(path + "/", StringComparison.Ordinal));
    }

    public void CreateDirectory(string path)
    {
        // They are there.
    }

    public IReadOnlyList<string> List(string folder)
    {
        lock (_files) return [.. _files.Keys.Where(p => Path.GetDirectoryName(p) == folder).Order(StringComparer.Ordinal)];
    }

    public IReadOnlyList<string> Folders(string folder)
    {
        lock (_files)
            return [.. _files.Keys.Where(p => p.StartsWith(folder + "/", StringComparison.Ordinal) && p.IndexOf('/', folder.Length + 1) > 0).Select(p => p[..p.IndexOf('/', folder.Length + 1)]).Distinct().Order(StringComparer.Ordinal)];
    }

    public byte[]? TryReadAll(string path)
    {
        lock (_files) return _files.TryGetValue(path, out var bytes) ? [.. bytes] : null;
    }

    public void Replace(string path, ReadOnlySpan<byte> content)
    {
        lock (_files) _files[path] = content.ToArray();
    }

    public void Delete(string path)
    {
        lock (_files) _files.Remove(path);
    }

    public void DeleteFolder(string path)
    {
        lock (_files)
            foreach (var file in _files.Keys.Where(p => p.StartsWith(path + "/", StringComparison.Ordinal)).ToArray()) _files.Remove(file);
    }

    public void Rename(string from, string to)
    {
        lock (_files)
            if (_files.Remove(from, out var bytes)) _files[to] = bytes;
            else throw new FileNotFoundException(from);
    }

    public void FlushFolder(string folder)
    {
        // Memory is as durable as it gets.
    }

    public long FreeBytes(string path) => 1L << 40;

    private sealed class MemoryFile(MemoryFiles files, string path) : IBlockFile
    {
        private bool _own;

        public long LengthBytes { get { lock (files._files) return Bytes.Length; } }

        private byte[] Bytes => files._files.GetValueOrDefault(path) ?? [];

        public void SetLength(long lengthBytes)
        {
            lock (files._files) Resize(lengthBytes);
        }

        public void Read(long offset, Span<byte> into)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            lock (files._files)
            {
                var inside = (int)Math.Clamp(Bytes.Length - offset, 0, into.Length);
                if (inside > 0) Bytes.AsSpan((int)offset, inside).CopyTo(into);
                into[inside..].Clear();
            }
        }

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            lock (files._files)
            {
                if (offset + from.Length > Bytes.Length) Resize(offset + from.Length);
                else if (!_own) files._files[path] = [.. Bytes];
                _own = true;
                from.CopyTo(Bytes.AsSpan((int)offset));
            }
        }

        public void Zero(long offset, long length)
        {
            lock (files._files)
            {
                var end = Math.Min(offset + length, Bytes.Length);
                if (end > offset) Write(offset, new byte[end - offset]);
            }
        }

        public void Flush()
        {
            // Memory is as durable as it gets.
        }

        public (long Length, bool Hole) RunAt(long offset) => (Math.Max(0, LengthBytes - offset), offset >= LengthBytes);

        private void Resize(long lengthBytes)
        {
            if (lengthBytes is < 0 or > FileBytesMax) throw new IOException("there is no room for so long a file");
            var bytes = new byte[lengthBytes];
            Bytes.AsSpan(0, (int)Math.Min(Bytes.Length, lengthBytes)).CopyTo(bytes);
            files._files[path] = bytes;
        }

        public void Dispose()
        {
            // Nothing is held.
        }
    }
}
