using System.Text;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>Where one machine of <see cref="QemuHypervisor"/> keeps what: its definition beside its folder, so that a folder of definitions is the list of machines.</summary>
internal sealed record QemuFiles(string Root, string Name)
{
    internal const string DefinitionEnd = ".machine.json";
    /// <summary>sun_path of Linux holds 108 bytes with its closing zero.</summary>
    private const int SocketPathBytesMax = 107;
    private const int NameLengthMax = 64;

    internal string Folder => Path.Combine(Root, Name);
    internal string Definition => Path.Combine(Root, Name + DefinitionEnd);
    internal string Pid => Path.Combine(Folder, "qemu.pid");
    internal string Monitor => Path.Combine(Folder, "qmp.sock");
    internal string Serial => Path.Combine(Folder, "serial.sock");
    internal string Display => Path.Combine(Folder, "vnc.sock");
    internal string Variables => Path.Combine(Folder, "uefi-variables.fd");

    /// <exception cref="HypervisorException">The name cannot be a folder's and a socket's.</exception>
    internal static QemuFiles Of(string root, string name)
    {
        if (name.Length is 0 or > NameLengthMax || !char.IsAsciiLetterOrDigit(name[0]) || name.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.')))
            throw new HypervisorException(HypervisorProblem.Unfit, $"'{name}' cannot be a machine's name", $"Use at most {NameLengthMax} letters, digits, dots, hyphens and underscores");
        var files = new QemuFiles(root, name);
        return Encoding.UTF8.GetByteCount(files.Serial) <= SocketPathBytesMax ? files
            : throw new HypervisorException(HypervisorProblem.Unfit, $"the socket {files.Serial} would have a path of more than {SocketPathBytesMax} bytes", "Use a shorter name or data directory");
    }
}
