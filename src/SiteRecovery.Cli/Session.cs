using System.CommandLine;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>What a command that talks to a cluster works with.</summary>
internal sealed class Session(ApiClient api, DataWriter data, ParseResult arguments) : IDisposable
{
    public static readonly Option<string> OutputOption = new Option<string>("--output", "-o") { Description = "Form of the data on stdout", Recursive = true, DefaultValueFactory = _ => "table" }
        .AcceptOnlyFromAmong("table", "wide", "json", "yaml");

    public ApiClient Api { get; } = api;
    public DataWriter Data { get; } = data;
    public ParseResult Arguments { get; } = arguments;

    public static Session Open(ParseResult arguments) => new(new ApiClient(ConnectionOptions.Resolve(arguments)), DataOf(arguments), arguments);

    public static DataWriter DataOf(ParseResult arguments) => new(Enum.Parse<OutputFormat>(arguments.GetValue(OutputOption)!, ignoreCase: true), Console.Out);

    /// <summary>A command's action over a session.</summary>
    public static Func<ParseResult, CancellationToken, Task<int>> With(Func<Session, CancellationToken, Task<int>> action) => async (arguments, cancel) =>
    {
        using var session = Open(arguments);
        return await action(session, cancel);
    };

    /// <summary>For people, never for scripts.</summary>
    public static void Say(string text) => PlainText.On(Console.Error).WriteLine(text);

    public void Dispose() => Api.Dispose();
}
