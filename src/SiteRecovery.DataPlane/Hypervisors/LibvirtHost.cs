using System.Xml;
using System.Xml.Linq;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>What the hypervisor behind a connection offers for one architecture, read from its capabilities.</summary>
/// <param name="DomainType">"kvm", "qemu", "test", …</param>
/// <param name="MachineTypes">Empty where the driver has none.</param>
internal sealed record LibvirtHost(string DomainType, string OsType, string Architecture, IReadOnlyCollection<string> MachineTypes)
{
    /// <param name="domainType">The one to use; null for the best that is offered.</param>
    /// <exception cref="HypervisorException">The host offers none of it, or does not say what it offers.</exception>
    internal static LibvirtHost For(string capabilities, string architecture, string? domainType)
    {
        var guests = Read(capabilities).Elements("guest").Where(g => (string?)g.Element("os_type") == "hvm").ToArray();
        var wanted = guests.FirstOrDefault(g => (string?)g.Element("arch")?.Attribute("name") == architecture)
            // The test driver has one architecture, whatever is asked of it.
            ?? guests.FirstOrDefault(g => TypesOf(g).Contains("test"))
            ?? throw new HypervisorException(HypervisorProblem.Unfit, $"the host has no hypervisor for {architecture}", "Install qemu-system for that architecture");
        var offered = TypesOf(wanted);
        var type = domainType is null ? offered.FirstOrDefault(t => t == "kvm") ?? offered.FirstOrDefault() : offered.FirstOrDefault(t => t == domainType);
        var arch = wanted.Element("arch")!;
        return type is null
            ? throw new HypervisorException(HypervisorProblem.Unfit, $"the host offers {string.Join(", ", offered)} and not {domainType}")
            : new LibvirtHost(type, "hvm", (string?)arch.Attribute("name") ?? architecture, [.. arch.Descendants("machine").Select(m => m.Value).Distinct()]);
    }

    private static XElement Read(string capabilities)
    {
        try
        {
            using var reader = XmlReader.Create(new StringReader(capabilities), new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit });
            return XElement.Load(reader);
        }
        catch (XmlException damaged)
        {
            throw new HypervisorException(HypervisorProblem.Refused, $"what the host says of itself cannot be read: {damaged.Message}", inner: damaged);
        }
    }

    private static string[] TypesOf(XElement guest) => [.. guest.Elements("arch").Elements("domain").Select(d => (string?)d.Attribute("type")).OfType<string>()];
}
