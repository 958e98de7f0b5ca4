using System.CommandLine;
using SiteRecovery.Node.Hosting;

var root = new RootCommand("SiteRecovery: replicates live machines to another site and fails them over") { NodeCommand.Create() };
return await root.Parse(args).InvokeAsync();
