using SiteRecovery.DataPlane.ProcessServer;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Domain.History;

namespace SiteRecovery.DataPlane.Tests.ProcessServer;

public sealed class MachineRoutesTests : IDisposable
{
    private static readonly MachineId Machine = new("m1");
    private readonly string _folder = Directory.CreateTempSubdirectory("routes").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("{ \"m1\": {")]
    [InlineData("")]
    public void A_damaged_file_is_set_aside_and_the_routes_are_learned_anew(string content)
    {
        var path = Path.Combine(_folder, "routes.json");
        File.WriteAllText(path, content);
        var routes = new MachineRoutes(path, RealFileSystem.Instance);
        Assert.Null(routes.Find(Machine));
        Assert.Equal(content, File.ReadAllText(path + ".damaged"));

        var route = new MachineRoute("host1", "lz4", "127.0.0.1", 1);
        routes.Set(Machine, route);
        Assert.Equal(route, new MachineRoutes(path, RealFileSystem.Instance).Find(Machine));
    }
}
