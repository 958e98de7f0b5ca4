using System.Text;
using SiteRecovery.DataPlane.Hypervisors;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class MachineDefinitionTests
{
    private static readonly string Golden = Path.Combine(AppContext.BaseDirectory, "Golden", "v1", "machine-definition.json");

    [Fact]
    public void Yesterdays_definition_is_read_and_written_as_it_was()
    {
        var golden = File.ReadAllText(Golden);
        Assert.Equal(golden.TrimEnd(), Encoding.UTF8.GetString(Machines.Everything.ToJson()));
        Assert.Equal(golden.TrimEnd(), Encoding.UTF8.GetString(MachineDefinition.FromJson(File.ReadAllBytes(Golden)).ToJson()));
    }

    [Theory]
    [InlineData("""{"format":2,"name":"a","machineType":"pc","cpuCount":1,"memoryBytes":1}""", "format 2")]
    [InlineData("""{"format":1,"name":"a"}""", "damaged")]
    [InlineData("null", "empty")]
    public void What_cannot_be_understood_is_not_guessed(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => MachineDefinition.FromJson(Encoding.UTF8.GetBytes(json))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("pc-q35-7.2", "pc-q35-7.2")]
    [InlineData("pc-q35-9.2", "q35")]
    [InlineData("pc-q35-rhel9.4.0", "q35")]
    [InlineData("pc-i440fx-9.2", "pc")]
    [InlineData("virt-9.2", null)]
    public void A_host_with_another_QEMU_takes_the_family_of_the_machine(string wanted, string? taken) =>
        Assert.Equal(taken, MachineTypes.Nearest(wanted, ["pc", "q35", "pc-q35-7.2", "pc-i440fx-7.2"]));
}
