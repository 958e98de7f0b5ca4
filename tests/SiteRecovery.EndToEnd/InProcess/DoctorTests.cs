using SiteRecovery.Node.Hosting;

namespace SiteRecovery.EndToEnd.InProcess;

public sealed class DoctorTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sr-doctor-").FullName;

    [Theory]
    [InlineData("kvm", "ok ")]
    [InlineData("nothing", "missing ")]
    [InlineData("unopened", "warning ")]
    public void A_device_of_the_hosts_virtualization_that_cannot_be_opened_is_told(string name, string begins)
    {
        File.WriteAllText(Path.Combine(_folder, "kvm"), "");
        Directory.CreateDirectory(Path.Combine(_folder, "unopened")); // no user can write to one, root neither
        var said = DoctorCommand.OfKvm(Path.Combine(_folder, name));
        Assert.StartsWith(begins, said, StringComparison.Ordinal);
        if (name == "unopened") Assert.Contains("SupplementaryGroups=kvm", said, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
