using System.CommandLine;
using System.Net;
using System.Runtime.InteropServices;
using SiteRecovery.Agent;
using SiteRecovery.DataPlane.Storage;

Posix.KeepFilesPrivate();
var data = new Option<string>("--data") { Description = "Folder for the agent's identity, bitmaps and sockets", Required = true };
var join = new Option<string?>("--join") { Description = "URL of a configuration server, needed the first time and once its certificate has expired" };
var tokenFile = new Option<string?>("--token-file") { Description = "File with an agent join token, needed the first time and once its certificate has expired" };
var name = new Option<string?>("--name") { Description = "Name of this agent; default: the host's name" };
var nbdListen = new Option<IPEndPoint?>("--nbd-listen")
{
    Description = "ADDRESS:PORT where hypervisors on other hosts open the disks, over TLS; default: the unix socket alone",
    CustomParser = given => IPEndPoint.TryParse(given.Tokens[0].Value, out var endpoint) ? endpoint : Refused(given),
};
var nbdAllow = new Option<string[]>("--nbd-allow")
{
    Description = "NAME[,node:NAME]: agents and nodes whose certificates open the disks at --nbd-listen; default: this agent's own alone",
    CustomParser = given => [.. given.Tokens.SelectMany(t => t.Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))],
};
var askAfterBoot = new Option<TimeSpan>("--ask-after-boot")
{
    Description = "After a boot of this host a machine's writes wait so long for a process server to say that no replica of it runs elsewhere: seconds, such as 60s, or forever",
    DefaultValueFactory = _ => AgentOptions.AskAfterBootDefault,
    CustomParser = AskedFor,
};
var hypervisor = new Option<string?>("--hypervisor")
{
    Description = "This host's hypervisor, which stops the machine for a planned failover: a libvirt URI such as qemu:///system, or the full path of a folder of machines that QEMU runs directly; default: none",
};
hypervisor.Validators.Add(given =>
{
    if (given.Tokens is [var token] && token.Value is not "none" && !token.Value.StartsWith('/') && !token.Value.Contains(":/", StringComparison.Ordinal))
        given.AddError($"--hypervisor is '{token.Value}': give a URI of libvirt's such as qemu:///system, the full path of a folder, or none");
});
var accelerators = new Option<string?>("--qemu-accelerators") { Description = "For machines that QEMU runs directly; default: kvm:tcg" };
var socketGroup = new Option<string?>("--socket-group")
{
    Description = "Group that may open disks on the unix socket beside the agent's own user, for a hypervisor that runs its machines as another one (libvirt on Debian: libvirt-qemu); default: none",
};
var diskFolder = new Option<string[]>("--disk-folder")
{
    Description = "Full path of a folder, such as /var/lib/libvirt/images or /dev/vg0, whose disks this agent protects when the cluster asks for it, links followed; may be given several times; default: any disk of this host",
};
diskFolder.Validators.Add(given =>
{
    foreach (var token in given.Tokens.Where(t => !t.Value.StartsWith('/'))) given.AddError($"--disk-folder is '{token.Value}': give the full path of a folder");
});
var run = new Command("run", "Capture and replicate the disks that the configuration server assigns") { data, join, tokenFile, name, nbdListen, nbdAllow, hypervisor, accelerators, askAfterBoot, socketGroup, diskFolder };
run.Validators.Add(given =>
{
    if (given.GetResult(nbdAllow) is { Implicit: false } && given.GetResult(nbdListen) is not { Implicit: false }) given.AddError("--nbd-allow is of no use without --nbd-listen: give both, or neither");
});
run.SetAction(async (arguments, stop) =>
{
    using var terminated = CancellationTokenSource.CreateLinkedTokenSource(stop);
    using var onTerm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
    {
        context.Cancel = true;
        terminated.Cancel();
    });
    try
    {
        var options = new AgentOptions(arguments.GetRequiredValue(data), arguments.GetValue(join), arguments.GetValue(tokenFile),
            arguments.GetValue(name) ?? Environment.MachineName.ToLowerInvariant(), arguments.GetValue(nbdListen), arguments.GetValue(hypervisor), arguments.GetValue(accelerators),
            arguments.GetValue(askAfterBoot), arguments.GetValue(socketGroup), Environment.GetEnvironmentVariable("NOTIFY_SOCKET"), arguments.GetValue(nbdAllow), arguments.GetValue(diskFolder));
        await using var agent = await AgentService.StartAsync(options, TimeProvider.System, terminated.Token);
        await agent.RunAsync(terminated.Token);
        return 0;
    }
    catch (OperationCanceledException) when (terminated.IsCancellationRequested)
    {
        return 0;
    }
    catch (AgentProblem problem)
    {
        await Console.Error.WriteLineAsync($"siterecovery-agent: {problem.Message}");
        return problem.IsUsage ? 2 : 1;
    }
    catch (Exception broken) when (broken is IOException or UnauthorizedAccessException or System.Net.Sockets.SocketException or System.Text.Json.JsonException or TaskCanceledException)
    {
        await Console.Error.WriteLineAsync($"siterecovery-agent: {broken.Message}; what it names must be mended before the agent can serve");
        return 1;
    }
});
return await new RootCommand("SiteRecovery Unified Agent: captures the writes of protected disks") { run }.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(60) }); // what it serves is flushed first

static TimeSpan AskedFor(System.CommandLine.Parsing.ArgumentResult given)
{
    var text = given.Tokens[0].Value;
    if (text == "forever") return Timeout.InfiniteTimeSpan;
    if (text.EndsWith('s') && int.TryParse(text[..^1], System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var seconds)) return TimeSpan.FromSeconds(seconds);
    given.AddError($"--ask-after-boot is '{text}': give seconds, such as 60s, or forever");
    return default;
}

static IPEndPoint? Refused(System.CommandLine.Parsing.ArgumentResult given)
{
    given.AddError($"--nbd-listen is '{given.Tokens[0].Value}': give an address of this host and a port, such as 192.0.2.7:10809");
    return null;
}
