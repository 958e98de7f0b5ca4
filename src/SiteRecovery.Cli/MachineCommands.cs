using System.CommandLine;
using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

internal static class MachineCommands
{
    public static readonly Resource Machines = new("machine", "machines", MachineView.Columns);
    private static readonly Option<string> Point = new("--point")
    {
        Description = PointText.Description,
        DefaultValueFactory = _ => "latest",
        CompletionSources = { "latest", "latest-application-consistent", "at:" },
    };

    private const string CleanUp = "test-failover-cleanup", Planned = "planned-failover", Reverse = "reverse-replicate";
    private static readonly Option<string?> Patience = new("--patience") { Description = "After so long it is rolled back and the source runs on, such as 30m; 10m where it is left out" };
    private static readonly Option<string?> Target = new("--target") { Description = "Master target of the old site; its first where it is left out" };
    private static readonly Option<bool> Full = new("--full") { Description = "Compare every block: the old source cannot be asked what it wrote, or its disks are gone" };
    private static readonly Option<string?> Test = new("--test") { Description = "Which test failover; all where it is left out" };
    private static readonly Option<string?> Notes = new("--notes") { Description = "What was seen, for the record of the drill" };

    private enum Risk { None, Confirmed }

    public static Command Create()
    {
        var command = new Command("machine", "Protected machines")
        {
            Machines.List(), Machines.Show(MachineView.Write), ProtectCommand.Create(Machines), Disable(), Exports(),
        };
        foreach (var (verb, description, takesPoint, risk) in Actions) command.Add(Action(verb, description, takesPoint, risk));
        return command;
    }

    private static IReadOnlyList<(string Verb, string Description, bool TakesPoint, Risk Risk)> Actions { get; } =
    [
        ("pause", "Stop sending; the agent goes on tracking changes", false, Risk.None),
        ("resume", "Go on after a pause", false, Risk.None),
        ("resynchronize", "Compare source and target, and send what differs", false, Risk.None),
        ("unplanned-failover", "Bring the replica up at the other site, the source being lost", true, Risk.Confirmed),
        ("commit", "Make a failover final", false, Risk.Confirmed),
        ("test-failover", "Bring up a copy of the replica beside the running replication", true, Risk.None),
        (CleanUp, "Remove every trace of a test failover", false, Risk.None),
        ("planned-failover", "Stop the source, send the rest and bring the replica up with nothing lost", false, Risk.Confirmed),
        ("change-recovery-point", "Bring the replica up at another point, before the commit", true, Risk.Confirmed),
        ("cancel-failover", "Go back to the source, before the commit", false, Risk.Confirmed),
        ("reverse-replicate", "Replicate back to the old site after a failover", false, Risk.Confirmed),
    ];

    private static Command Action(string verb, string description, bool takesPoint, Risk risk)
    {
        var name = Machines.Name();
        var command = new Command(verb, description) { name };
        if (takesPoint) command.Add(Point);
        if (verb == CleanUp)
        {
            command.Add(Test);
            command.Add(Notes);
        }
        if (verb == Planned) command.Add(Patience);
        if (verb == Reverse)
        {
            command.Add(Target);
            command.Add(Full);
        }
        if (risk == Risk.Confirmed) ActionRun.AddRiskyTo(command);
        else ActionRun.AddTo(command);
        command.SetAction(Session.With((session, cancel) =>
        {
            var machine = session.Arguments.GetRequiredValue(name);
            var body = new JsonObject();
            if (takesPoint)
            {
                var point = session.Arguments.GetRequiredValue(Point);
                PointText.Read(point);
                body["point"] = point;
            }
            if (verb == CleanUp) (body["test"], body["notes"]) = (session.Arguments.GetValue(Test), session.Arguments.GetValue(Notes));
            if (verb == Planned && session.Arguments.GetValue(Patience) is { } patience) body["patience"] = patience;
            if (verb == Reverse) (body["target"], body["full"]) = (session.Arguments.GetValue(Target), session.Arguments.GetValue(Full));
            return ActionRun.CarryOutAsync(session, HttpMethod.Post, $"{Machines.PathOf(machine)}/{verb}", body, cancel, risk == Risk.Confirmed ? (machine, verb) : null);
        }));
        return command;
    }

    private static Command Disable()
    {
        var name = Machines.Name();
        var command = new Command("disable", "End the protection and remove the replica's history") { name };
        ActionRun.AddRiskyTo(command);
        command.SetAction(Session.With((session, cancel) =>
        {
            var machine = session.Arguments.GetRequiredValue(name);
            return ActionRun.CarryOutAsync(session, HttpMethod.Delete, Machines.PathOf(machine), null, cancel, (machine, "disable"));
        }));
        return command;
    }

    private static Command Exports()
    {
        var name = Machines.Name();
        var command = new Command("exports", "Where the replica's disks are served") { name };
        command.SetAction(Session.With(async (session, cancel) =>
        {
            session.Data.List(await session.Api.ListAsync($"{Machines.PathOf(session.Arguments.GetRequiredValue(name))}/exports", cancel), [Column.Of("DISK", "disk"), Column.Of("URI", "uri"), Column.Of("TEST", "test")]);
            return ExitCode.Done;
        }));
        return command;
    }
}
