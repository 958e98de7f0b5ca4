using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Storage;

/// <summary>The simulated disk is a file system like the real one.</summary>
public sealed class SimDiskContract : FileSystemContract
{
    private readonly SimDisk _disk = new();

    public SimDiskContract() => _disk.CreateDirectory(Folder);

    protected override IFileSystem Files => _disk;
    protected override string Folder => "/simulated/folder";

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_same_things_happen_to_a_real_one(int seed)
    {
        var real = Directory.CreateTempSubdirectory("contract").FullName;
        try
        {
            var random = new Random(seed);
            for (var i = 0; i < 300; i++)
            {
                var (step, name) = (random.Next(), "f" + random.Next(3));
                var (here, there) = (Try(() => Step(_disk, Folder, step, name)), Try(() => Step(RealFileSystem.Instance, real, step, name)));
                Assert.Equal(there, here);
                Assert.Equal(RealFileSystem.Instance.List(real).Select(Path.GetFileName), _disk.List(Folder).Select(Path.GetFileName));
                foreach (var path in RealFileSystem.Instance.List(real)) Assert.Equal(File.ReadAllBytes(path), _disk.TryReadAll(In(Path.GetFileName(path))));
            }
        }
        finally
        {
            Directory.Delete(real, recursive: true);
        }
    }

    private static void Step(IFileSystem files, string folder, int seed, string name)
    {
        var (random, path) = (new Random(seed), Path.Combine(folder, name));
        if (random.Next(6) == 0)
        {
            if (random.Next(2) == 0) files.Rename(path, Path.Combine(folder, "f" + random.Next(3)));
            else files.Delete(path);
            return;
        }
        using var file = files.Open(path, random.Next(4) == 0 ? FileOpening.ReadWrite : FileOpening.Create);
        var bytes = new byte[random.Next(1, 9000)];
        random.NextBytes(bytes);
        switch (random.Next(4))
        {
            case 0: file.SetLength(random.Next(20_000)); break;
            case 1: file.Zero(random.Next(20_000), random.Next(20_000)); break;
            default: file.Write(random.Next(20_000), bytes); break;
        }
    }

    private static bool Try(Action step)
    {
        try
        {
            step();
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
