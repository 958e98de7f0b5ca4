using System.CommandLine;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class AuditCommands
{
    private static readonly Column[] Columns =
    [
        new("AT", e => Forms.Time(e.At("at"))), Column.Of("BY", "by"), Column.Of("FROM", "subject"), Column.Of("OUTCOME", "outcome"), Column.Of("ACTION", "action"),
    ];

    public static Command Create()
    {
        var limit = new Option<int?>("--limit") { Description = "At most so many, newest first" };
        var list = new Command("list", "Who changed what, newest first") { limit };
        list.SetAction(Session.With(async (session, cancel) =>
        {
            session.Data.List(await session.Api.ListAsync("audit", cancel, session.Arguments.GetValue(limit)), Columns);
            return ExitCode.Done;
        }));
        return new Command("audit", "The audit log") { list };
    }
}
