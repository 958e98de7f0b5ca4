using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class TokenCommands
{
    private static readonly Resource Tokens = new("token", "tokens", [Column.Of("NAME", "name"), Column.Of("ROLE", "role")]);

    public static Command Create() => new("token", "Bearer tokens: who may do what") { Tokens.List(), Make(), Tokens.Delete("revoke") };

    private static Command Make()
    {
        var name = new Argument<string>("name") { Description = "What the audit log calls its bearer" };
        var role = new Option<string>("--role") { Description = "Each may do all that the ones before it may", Required = true };
        role.AcceptOnlyFromAmong("viewer", "operator", "recovery-admin", "administrator");
        var command = new Command("make", "Make a token, and print it; one of that name has to be revoked before") { name, role };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            var body = new JsonObject { ["name"] = session.Arguments.GetRequiredValue(name), ["role"] = session.Arguments.GetRequiredValue(role) };
            var made = (await session.Api.SendAsync(HttpMethod.Post, Tokens.Path, body, cancel)).Body;
            if (session.Data.IsForPeople) session.Data.Line(made.At("token").Text());
            else session.Data.Document(made!);
            Session.Say("It is shown this once. Keep it in a file that only its bearer can read.");
            return ExitCode.Done;
        }));
        return command;
    }
}
