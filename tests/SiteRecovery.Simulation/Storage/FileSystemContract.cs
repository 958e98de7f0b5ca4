using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.Simulation.Storage;

/// <summary>What the data plane expects of any file system.</summary>
public abstract class FileSystemContract : IDisposable
{
    protected abstract IFileSystem Files { get; }

    /// <summary>An empty folder.</summary>
    protected abstract string Folder { get; }

    public virtual void Dispose() => GC.SuppressFinalize(this);

    [Fact]
    public void What_lies_beyond_the_end_reads_as_zeroes()
    {
        using var file = Create("a", [1, 2, 3]);
        Assert.Equal([2, 3, 0, 0], Read(file, 1, 4));
        Assert.Equal([0, 0], Read(file, 1 << 20, 2));
    }

    [Fact]
    public void A_write_behind_the_end_leaves_zeroes_between()
    {
        using var file = Create("a", [1, 2, 3]);
        file.Write(10_000, [9]);
        Assert.Equal(10_001, file.LengthBytes);
        Assert.Equal([3, 0, 0], Read(file, 2, 3));
        Assert.Equal([0, 9, 0], Read(file, 9_999, 3));
    }

    [Fact]
    public void What_was_cut_off_does_not_come_back()
    {
        using var file = Create("a", Enumerable.Repeat((byte)7, 9000).ToArray());
        file.SetLength(4500);
        file.SetLength(9000);
        Assert.Equal([7, 0, 0], Read(file, 4499, 3));
        Assert.Equal(9000, file.LengthBytes);
    }

    [Fact]
    public void Zeroes_do_not_change_the_length()
    {
        using var file = Create("a", Enumerable.Repeat((byte)7, 20_000).ToArray());
        file.Zero(100, 12_000);
        file.Zero(19_000, 50_000);
        Assert.Equal(20_000, file.LengthBytes);
        Assert.Equal([7, 0, 0], Read(file, 99, 3));
        Assert.Equal([0, 7, 7], Read(file, 12_099, 3));
        Assert.Equal([7, 0, 0], Read(file, 18_999, 3));
    }

    [Fact]
    public void Runs_cover_the_file_and_holes_are_zeroes()
    {
        using var file = Create("a", Enumerable.Repeat((byte)7, 4096).ToArray());
        file.SetLength(1 << 20);
        file.Write(300_000, [1]);
        file.Zero(0, 4096);
        long at = 0;
        while (file.RunAt(at) is { Length: > 0 } run)
        {
            if (run.Hole) Assert.False(Read(file, at, (int)run.Length).AsSpan().ContainsAnyExcept((byte)0));
            at += run.Length;
        }
        Assert.Equal(1 << 20, at);
    }

    [Fact]
    public void A_file_that_is_not_there_opens_only_to_be_made()
    {
        Assert.ThrowsAny<IOException>(() => Files.Open(In("a"), FileOpening.Read));
        Assert.ThrowsAny<IOException>(() => Files.Open(In("a"), FileOpening.ReadWrite));
        Assert.ThrowsAny<IOException>(() => Files.Open(In("no/folder"), FileOpening.Create));
        Assert.False(Files.Exists(In("a")));
        Assert.Null(Files.TryReadAll(In("a")));
        using var file = Files.Open(In("a"), FileOpening.Create);
        Assert.True(Files.Exists(In("a")));
        Assert.Empty(Files.TryReadAll(In("a"))!);
    }

    [Fact]
    public void Who_opened_to_read_cannot_write()
    {
        Create("a", [1]).Dispose();
        using var file = Files.Open(In("a"), FileOpening.Read);
        Assert.ThrowsAny<Exception>(() => file.Write(0, [2]));
        Assert.Equal([1], Files.TryReadAll(In("a")));
    }

    [Fact]
    public void Opening_to_make_keeps_what_is_there()
    {
        Create("a", [1, 2]).Dispose();
        using var file = Files.Open(In("a"), FileOpening.Create);
        Assert.Equal([1, 2], Read(file, 0, 2));
    }

    [Fact]
    public void All_that_have_a_file_open_see_one_file()
    {
        using var one = Create("a", [1]);
        using var other = Files.Open(In("a"), FileOpening.Read);
        one.Write(1, [2]);
        one.Flush();
        Assert.Equal(2, other.LengthBytes);
        Assert.Equal([1, 2], Read(other, 0, 2));
    }

    [Fact]
    public void A_deleted_file_lives_for_those_who_have_it_open()
    {
        using var file = Create("a", [1]);
        Files.Delete(In("a"));
        Files.Delete(In("a"));
        Assert.False(Files.Exists(In("a")));
        file.Write(1, [2]);
        Assert.Equal([1, 2], Read(file, 0, 2));
        using var next = Files.Open(In("a"), FileOpening.Create);
        Assert.Equal(0, next.LengthBytes);
    }

    [Fact]
    public void Replacing_leaves_the_new_content_and_no_other_file()
    {
        Files.Replace(In("a"), [1, 2, 3]);
        Files.Replace(In("a"), [4]);
        Assert.Equal([4], Files.TryReadAll(In("a")));
        Assert.Equal([In("a")], Files.List(Folder));
    }

    [Fact]
    public void A_rename_takes_the_place_of_what_was_there()
    {
        Create("a", [1]).Dispose();
        using var former = Create("b", [2]);
        Files.Rename(In("a"), In("b"));
        Assert.Equal([1], Files.TryReadAll(In("b")));
        Assert.Equal([2], Read(former, 0, 1));
        Assert.Equal([In("b")], Files.List(Folder));
        Assert.ThrowsAny<IOException>(() => Files.Rename(In("a"), In("c")));
    }

    [Fact]
    public void What_is_renamed_goes_from_folder_to_folder()
    {
        Files.CreateDirectory(In("from/x"));
        Files.CreateDirectory(In("to"));
        using (var file = Files.Open(In("from/x/a"), FileOpening.Create)) file.Write(0, [1]);
        Files.Rename(In("from/x"), In("to/y"));
        Assert.Equal([1], Files.TryReadAll(In("to/y/a")));
        Assert.False(Files.FolderExists(In("from/x")));
        Assert.Equal([In("to/y")], Files.Folders(In("to")));
        Files.Rename(In("to/y/a"), In("from/b"));
        Assert.Equal([In("from/b")], Files.List(In("from")));
        Assert.Empty(Files.List(In("to/y")));
    }

    [Fact]
    public void Folders_are_made_renamed_and_removed_with_all_that_is_in_them()
    {
        Files.CreateDirectory(In("x/y/z"));
        Files.CreateDirectory(In("x/y/z"));
        using (var file = Files.Open(In("x/y/z/a"), FileOpening.Create)) file.Write(0, [1]);
        Files.Rename(In("x"), In("w"));
        Assert.Equal([1], Files.TryReadAll(In("w/y/z/a")));
        Assert.False(Files.Exists(In("w/y"))); // no file
        Assert.Empty(Files.List(Folder));
        Assert.Empty(Files.List(In("x")));
        Files.DeleteFolder(In("w"));
        Files.DeleteFolder(In("w"));
        Assert.False(Files.Exists(In("w/y/z/a")));
    }

    [Fact]
    public void Files_are_listed_in_order()
    {
        foreach (var name in (string[])["b", "a", "C", "a~1"]) Create(name, []).Dispose();
        Files.CreateDirectory(In("folder"));
        Assert.Equal([In("C"), In("a"), In("a~1"), In("b")], Files.List(Folder));
    }

    [Fact]
    public void Flushing_a_folder_that_is_not_there_is_nothing()
    {
        Files.FlushFolder(In("nowhere"));
        Files.FlushFolder(Folder);
        Assert.True(Files.FreeBytes(Folder) > 0);
    }

    protected string In(string name) => Path.Combine(Folder, name);

    protected IBlockFile Create(string name, byte[] content)
    {
        var file = Files.Open(In(name), FileOpening.Create);
        file.Write(0, content);
        return file;
    }

    protected static byte[] Read(IBlockFile file, long offset, int count)
    {
        var bytes = Enumerable.Repeat((byte)0xEE, count).ToArray();
        file.Read(offset, bytes);
        return bytes;
    }
}
