using System.CommandLine;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Bench;
using SiteRecovery.Node.Demo;
using SiteRecovery.Node.Hosting;

Posix.KeepFilesPrivate();
var root = new RootCommand("SiteRecovery: replicates live machines to another site and fails them over")
{
    NodeCommand.Create(), DoctorCommand.Create(), DemoCommand.Create(), DemoCommand.CreateWriter(), BenchCommand.Create(),
};
var parsed = root.Parse(args);
return await parsed.InvokeAsync(DemoCommand.Is(parsed) ? new InvocationConfiguration { ProcessTerminationTimeout = DemoCommand.EndPatience } : new InvocationConfiguration { ProcessTerminationTimeout = NodeCommand.EndPatience });
