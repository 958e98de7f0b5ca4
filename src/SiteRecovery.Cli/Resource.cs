using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Connection;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>A flag of <c>put</c> and the property that it sets.</summary>
/// <param name="Path">Names joined by dots.</param>
/// <param name="Value">Null where the flag is not given; <see cref="None"/> where it takes away what is set.</param>
/// <param name="IsSite">It names a site.</param>
internal sealed record Setting(Option Option, string Path, Func<ParseResult, JsonNode?> Value, bool IsSite = false)
{
    private const string NoneWord = "none";

    public static JsonNode None { get; } = new JsonObject();

    /// <param name="orNone">"none" takes the property away.</param>
    public static Setting Of(string flag, string path, string description, bool isBytes = false, bool orNone = false, bool isSite = false)
    {
        var option = new Option<string?>(flag) { Description = orNone ? $"{description}; or none" : description };
        return new(option, path, arguments => arguments.GetValue(option) switch
        {
            null => null,
            NoneWord when orNone => None,
            var value when isBytes => JsonValue.Create(Forms.ParseBytes(value) ?? throw CommandProblem.Usage($"{flag} is '{value}'", "Give a whole number of bytes, or a whole number with K, M, G or T, such as 1536M.")),
            var value => JsonValue.Create(value),
        }, isSite);
    }

    public static Setting Whether(string flag, string path, string description)
    {
        var option = new Option<bool?>(flag) { Description = description };
        return new(option, path, arguments => arguments.GetValue(option) is { } value ? JsonValue.Create(value) : null);
    }

    /// <summary>A flag that may be repeated, and the list that it makes.</summary>
    /// <param name="item">Null: the value is none.</param>
    public static Setting Each(string flag, string path, string description, string form, Func<string, JsonNode?> item)
    {
        var option = new Option<string[]>(flag) { Description = $"{description}: {form}; repeatable, and all that there are to be; none for an empty list" };
        return new(option, path, arguments => arguments.GetValue(option) is not { Length: > 0 } values ? null : values is [NoneWord] ? None
            : new JsonArray([.. values.Select(v => item(v) ?? throw CommandProblem.Usage($"{flag} is '{v}'", $"Give {form}."))]));
    }
}

/// <summary>A noun of the API that has the usual verbs.</summary>
/// <param name="Path">Below /api/v1.</param>
internal sealed record Resource(string Noun, string Path, IReadOnlyList<Column> Columns)
{
    private static readonly Option<string?> IfMatch = new("--if-match") { Description = "Only if the resource still has this ETag, as 'show --etag' prints it" };

    private static readonly Option<bool> Defaults = new("--defaults") { Description = "What is not named takes its default, whatever it was" };

    public string PathOf(string name) => $"{Path}/{Uri.EscapeDataString(name)}";

    public Argument<string> Name() => new("name")
    {
        Description = $"The {Noun}'s name",
        CompletionSources = { context => NamesForCompletion.Of(this, context.ParseResult) },
    };

    public Command List()
    {
        var command = new Command("list", $"List all {Path}");
        command.SetAction(Session.With(async (session, cancel) =>
        {
            session.Data.List(await session.Api.ListAsync(Path, cancel), Columns);
            return ExitCode.Done;
        }));
        return command;
    }

    /// <param name="write">For people; null: all properties, as YAML.</param>
    public Command Show(Action<DataWriter, JsonNode>? write = null)
    {
        var name = Name();
        var command = new Command("show", $"Show one {Noun}") { name };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            Write(session.Data, await session.Api.GetAsync(PathOf(session.Arguments.GetRequiredValue(name)), cancel), write);
            return ExitCode.Done;
        }));
        return command;
    }

    public Command ShowWithETag()
    {
        var name = Name();
        var onlyTag = new Option<bool>("--etag") { Description = "Print nothing but the ETag, for --if-match" };
        var command = new Command("show", $"Show one {Noun}") { name, onlyTag };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var answer = await session.Api.GetAsync(PathOf(session.Arguments.GetRequiredValue(name)), cancel);
            if (session.Arguments.GetValue(onlyTag)) session.Data.Line(answer.ETag ?? "");
            else Write(session.Data, answer, null);
            return ExitCode.Done;
        }));
        return command;
    }

    /// <summary>Changes what flags say of the resource, or replaces all of it by what file and flags say; flags win.</summary>
    public Command Put(params Setting[] settings)
    {
        var name = Name();
        var file = new Option<string?>("--file", "-f") { Description = "JSON with the whole body, as 'show -o json' prints it; - for stdin" };
        var command = new Command("put", $"Create a {Noun}, or change what is named of it") { name, file, Defaults, IfMatch };
        foreach (var setting in settings) command.Add(setting.Option);
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var wanted = session.Arguments.GetRequiredValue(name);
            var given = settings.Select(s => (Setting: s, Value: s.Value(session.Arguments))).Where(s => s.Value is not null).ToArray();
            var (from, tag) = (session.Arguments.GetValue(file), session.Arguments.GetValue(IfMatch));
            var before = from is null && !session.Arguments.GetValue(Defaults) ? await FindAsync(session, wanted, cancel) : null;
            var body = before is null ? await ReadBodyAsync(from, wanted, cancel) : before.Body as JsonObject ?? [];
            foreach (var (setting, value) in given) Set(body, setting.Path, value!);
            // What is left as it was must still be so.
            var answer = await session.Api.SendAsync(HttpMethod.Put, PathOf(wanted), body, cancel, tag ?? before?.ETag);
            Write(session.Data, answer, null);
            Session.Say($"{Noun} '{wanted}' is stored");
            await SiteCommands.NoteUnknownAsync(session, given.Where(s => s.Setting.IsSite).Select(s => s.Value.Text()), cancel);
            return ExitCode.Done;
        }));
        return command;
    }

    public Command Delete(string verb = "delete")
    {
        var name = Name();
        var command = new Command(verb, $"{char.ToUpperInvariant(verb[0])}{verb[1..]} a {Noun}") { name, IfMatch, Confirmation.Yes };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var wanted = session.Arguments.GetRequiredValue(name);
            Confirmation.Require(session.Arguments, wanted, $"{verb} {Noun} '{wanted}'");
            await session.Api.SendAsync(HttpMethod.Delete, PathOf(wanted), null, cancel, session.Arguments.GetValue(IfMatch));
            Session.Say($"{Noun} '{wanted}' is {verb}d");
            return ExitCode.Done;
        }));
        return command;
    }

    /// <summary>POST …/join-tokens: the token alone on stdout, so that it can be sent into a file.</summary>
    public Command JoinToken()
    {
        var site = new Option<string?>("--site") { Description = $"The site that the {Noun} will belong to" };
        var only = new Option<string?>("--name") { Description = $"The one {Noun} that it admits; needed where that {Noun} is known and joins anew" };
        var command = new Command("join-token", $"Print a one-time token for a {Noun} that joins") { site, only };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var body = new JsonObject();
            if (session.Arguments.GetValue(site) is { } place) body["site"] = place;
            if (session.Arguments.GetValue(only) is { } named) body["name"] = named;
            var token = (await session.Api.SendAsync(HttpMethod.Post, $"{Path}/join-tokens", body, cancel)).Body;
            if (!session.Data.IsForPeople) session.Data.Document(token!);
            else session.Data.Line(token.At("token").Text());
            Session.Say($"good for {(token.At("name") is { } admitted ? $"{Noun} '{admitted.Text()}' alone" : $"one new {Noun}")}, until {Forms.Time(token.At("expiresAt"))}");
            if (this == AgentCommands.Agents && token.At("site") is { } home) await SiteCommands.NoteUnknownAsync(session, [home.Text()], cancel);
            return ExitCode.Done;
        }));
        return command;
    }

    /// <returns>Null: there is none.</returns>
    private async Task<Answer?> FindAsync(Session session, string name, CancellationToken cancel)
    {
        try
        {
            return await session.Api.GetAsync(PathOf(name), cancel);
        }
        catch (CommandProblem none) when (none.ExitCode == ExitCode.NotFound)
        {
            return null;
        }
    }

    private static void Write(DataWriter data, Answer answer, Action<DataWriter, JsonNode>? write)
    {
        if (answer.Body is null) return;
        if (write is not null && data.IsForPeople) write(data, answer.Body);
        else data.Document(answer.Body);
        if (answer.ETag is not null && data.IsForPeople) data.Line($"etag: {answer.ETag}");
    }

    private async Task<JsonObject> ReadBodyAsync(string? file, string name, CancellationToken cancel)
    {
        if (file is null) return [];
        try
        {
            var text = file == "-" ? await Console.In.ReadToEndAsync(cancel) : await File.ReadAllTextAsync(file, cancel);
            var body = JsonReading.Parse(text) as JsonObject ?? throw CommandProblem.Usage($"{file} holds no JSON object", $"Start from 'srctl {Noun} show NAME -o json'.");
            if (body.At("name") is { } other && other.Text() != name)
                throw CommandProblem.Usage($"{file} describes '{other.Text()}', not '{name}'", "Name the same one in both, or leave 'name' out of the file.");
            return body;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new CommandProblem(ExitCode.Usage, $"{file} cannot be read", e.Message, $"Give a file with JSON; 'srctl {Noun} show NAME -o json' prints one.", e);
        }
    }

    private static void Set(JsonObject body, string path, JsonNode value)
    {
        var names = path.Split('.');
        foreach (var name in names[..^1])
        {
            if (body[name] is not JsonObject inner) body[name] = inner = [];
            body = inner;
        }
        if (ReferenceEquals(value, Setting.None)) body.Remove(names[^1]);
        else body[names[^1]] = value;
    }
}
