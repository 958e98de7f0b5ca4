using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class ContextCommands
{
    private static readonly Column[] Columns =
    [
        new("CURRENT", c => c.At("current").Text() == "yes" ? "*" : ""), Column.Of("NAME", "name"), Column.Of("SERVERS", "servers"), Column.Of("TOKEN-FILE", "tokenFile"), Column.Of("CA-FILE", "caFile"),
    ];

    public static Command Create() => new("context", "Named clusters in your configuration folder") { Add(), Use(), List(), Remove() };

    private static Argument<string> Name(bool existing)
    {
        var name = new Argument<string>("name") { Description = "The context's name" };
        if (existing) name.CompletionSources.Add(_ => Contexts.NamesForCompletion());
        return name;
    }

    private static Command Add()
    {
        var name = Name(existing: false);
        var command = new Command("add", "Add or replace a context; the first one becomes the current one. Takes --server, --token-file, --ca-file or --data") { name };
        command.SetAction(arguments =>
        {
            var target = arguments.GetValue(ConnectionOptions.Data) is { } data ? ConnectionOptions.OfDataFolder(data)
                : arguments.GetValue(ConnectionOptions.Server) is { Length: > 0 } servers ? new Target(ConnectionOptions.Parse(servers), null, null)
                : throw CommandProblem.Usage("a context needs a server", "Give --server URL, or --data DIR of a node on this host.");
            target = new Target(target.Servers, FullPath(arguments.GetValue(ConnectionOptions.TokenFile)) ?? target.TokenFile, FullPath(arguments.GetValue(ConnectionOptions.CaFile)) ?? target.CaFile);
            foreach (var path in new[] { target.TokenFile, target.CaFile })
                if (path is not null && !File.Exists(path)) Session.Say($"note: {path} does not exist yet");
            var contexts = Contexts.Load();
            contexts.Add(arguments.GetRequiredValue(name), target);
            contexts.Save();
            Session.Say($"the current context is '{contexts.Current}'");
            return ExitCode.Done;
        });
        return command;
    }

    private static Command Use() => Change("use", "Make a context the current one", (contexts, name) => contexts.Use(name));

    private static Command Remove() => Change("remove", "Forget a context", (contexts, name) => contexts.Remove(name));

    private static Command Change(string verb, string description, Action<Contexts, string> change)
    {
        var name = Name(existing: true);
        var command = new Command(verb, description) { name };
        command.SetAction(arguments =>
        {
            var contexts = Contexts.Load();
            change(contexts, arguments.GetRequiredValue(name));
            contexts.Save();
            Session.Say(contexts.Current is { } current ? $"the current context is '{current}'" : "no context is the current one");
            return ExitCode.Done;
        });
        return command;
    }

    private static Command List()
    {
        var command = new Command("list", "List contexts; * marks the current one");
        command.SetAction(arguments =>
        {
            var contexts = Contexts.Load();
            Session.DataOf(arguments).List([.. contexts.All.Select(c => (JsonNode)new JsonObject
            {
                ["name"] = c.Key, ["current"] = c.Key == contexts.Current, ["servers"] = c.Value.Servers.Select(s => s.ToString()).ToJson(),
                ["tokenFile"] = c.Value.TokenFile, ["caFile"] = c.Value.CaFile,
            })], Columns);
            return ExitCode.Done;
        });
        return command;
    }

    private static string? FullPath(string? path) => path is null ? null : Path.GetFullPath(path);
}
