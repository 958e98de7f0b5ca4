using System.Text.Json.Nodes;
using SiteRecovery.Cli.Output;

namespace SiteRecovery.Cli;

/// <summary>How people read a protected machine: of what the node tells, whatever its version.</summary>
internal static class MachineView
{
    public static IReadOnlyList<Column> Columns { get; } =
    [
        Column.Of("NAME", "name"), Column.Of("STATE", "state"), Column.Of("HEALTH", "health.status"), new("RPO", Rpo), new("LAG", Lag),
        Column.Of("ACTIVE", "activeSite"), new("NEWEST-POINT", m => Point(m.At("newestPoint"))), new("PROGRESS", m => Forms.Progress(m.At("progress"))),
        Column.Of("DIRECTION", "direction", wide: true), Column.Of("EPOCH", "epoch", wide: true), Column.Of("AGENT", "agent", wide: true), Column.Of("POLICY", "policy", wide: true),
        new("OLDEST-POINT", m => Point(m.At("oldestPoint")), Wide: true),
    ];

    private static readonly Column[] DiskColumns =
    [
        Column.Of("DISK", "index"), new("NAME", d => (d.At("name") ?? d.At("id")).Text()), new("SIZE", d => Forms.Bytes(d.At("sizeBytes"))),
        Column.Of("CAPTURE", "capture"), Column.Of("PATH", "path"), Column.Of("CAPTURE-URI", "captureUri"), Column.Of("ERROR", "error"),
    ];

    private static readonly Column[] TestColumns =
    [
        Column.Of("TEST", "id"), Column.Of("POINT", "pointId"), new("STARTED", t => Forms.Time(t.At("startedAt"))), Column.Of("SERVED", "served"), Column.Of("CONSOLE", "console"),
    ];

    private static readonly Column[] DrillColumns =
    [
        Column.Of("DRILL", "test"), Column.Of("POINT", "pointId"), new("STARTED", d => Forms.Time(d.At("startedAt"))), new("RTO", d => Forms.Duration(d.At("rto"))),
        new("CLEANED-UP", d => Forms.Time(d.At("cleanedUpAt"))), new("NOTES", d => d.At("notes").Text() is { Length: > 0 } notes ? notes : "-"),
    ];

    private static readonly Column[] RefusedColumns = [Column.Of("NOT ALLOWED", "action"), Column.Of("REASON", "reason"), Column.Of("REMEDY", "remedy")];

    /// <summary>An RPO that is not being measured is unknown, never zero.</summary>
    public static string Rpo(JsonNode machine) => (machine.At("rpo") is { } rpo ? Forms.Duration(rpo) : null)
        ?? ((machine.At("unknownSince") ?? machine.At("rpoUnknownSince")) is { } since ? $"unknown since {Forms.Time(since)}" : "-");

    public static void Write(DataWriter data, JsonNode machine)
    {
        data.Fields(Fields(machine).Where(f => f.Value != "-"));
        foreach (var reason in machine.At("health.reasons").Items())
            data.Line($"  {reason.At("severity").Text()}: {reason.At("reason").Text()} {SrctlTerms.Of(reason.At("remedy").Text())}");
        if (machine.At("sourceChange") is { } change) data.Line($"  to do: {change.Text()}");
        Section(data, machine.At("disks").Items(), DiskColumns);
        var exports = machine.At("exports").Items();
        Section(data, [.. exports.Where(e => e.At("test") is null)], [Column.Of("EXPORTED DISK", "disk"), Column.Of("URI", "uri")]);
        Section(data, [.. exports.Where(e => e.At("test") is not null)], [Column.Of("TEST'S DISK", "disk"), Column.Of("URI", "uri"), Column.Of("TEST", "test")]);
        Section(data, machine.At("tests").Items(), TestColumns);
        Section(data, machine.At("drills").Items(), DrillColumns);
        var actions = machine.At("allowedActions").Items();
        data.Line();
        data.Line($"allowed actions: {string.Join(", ", actions.Where(IsAllowed).Select(a => a is JsonObject ? a.At("action").Text() : a.Text()).DefaultIfEmpty("none"))}");
        if (data.Format == OutputFormat.Wide) Section(data, [.. actions.Where(a => !IsAllowed(a))], RefusedColumns);
    }

    private static IEnumerable<(string Name, string Value)> Fields(JsonNode machine) =>
    [
        ("name", machine.At("name").Text()), ("state", machine.At("state").Text()), ("health", machine.At("health.status").Text()),
        ("rpo", Rpo(machine)), ("lag", Lag(machine)), ("progress", Forms.Progress(machine.At("progress"))), ("flattening", Forms.Progress(machine.At("flattening"))),
        ("newest point", Point(machine.At("newestPoint"))), ("oldest point", Point(machine.At("oldestPoint"))),
        ("active site", machine.At("activeSite").Text()), ("direction", machine.At("direction").Text()), ("epoch", machine.At("epoch").Text()),
        ("agent", machine.At("agent").Text()), ("policy", machine.At("policy").Text()),
        ("target node", machine.At("targetNode").Text()), ("store", Store(machine.At("store"))), ("agent is", Replication(machine.At("replication"))),
        ("failover point", machine.At("failoverPoint").Text()), ("source fenced", machine.At("sourceFenced").Text()), ("console", machine.At("console").Text()),
    ];

    private static string Lag(JsonNode machine)
    {
        if (machine.At("lag") is not JsonObject lag) return machine.At("lag") is null && IsUnheard(machine.At("replication")) ? "unknown" : machine.At("lag").Text();
        string[] parts = [.. new[] { lag.At("bytes") is { } bytes ? Forms.Bytes(bytes) : null, lag.At("time") is { } time ? Forms.Duration(time) : null }.OfType<string>()];
        return parts.Length == 0 ? "-" : string.Join(" / ", parts);
    }

    private static string Store(JsonNode? store) => store is not JsonObject ? "-"
        : $"{Forms.Bytes(store.At("bytes"))} in {store.At("points").Text()} points, {Forms.Bytes(store.At("freeBytes"))} free{Forecast(store.At("limitAt"), "its limit")}{Forecast(store.At("diskFullAt"), "a full disk")}{(store.At("error") is { } error ? $", {error.Text()}" : "")}";

    private static string Forecast(JsonNode? at, string what) => at is null ? "" : $", {what} at {Forms.Time(at)} at this rate";

    private static string Replication(JsonNode? replication) => replication is not JsonObject ? "-"
        : IsUnheard(replication) ? $"not connected{(replication.At("agentHeardAt") is { } at ? $", heard last at {Forms.Time(at)}" : "")}"
        : $"connected, {replication.At("agentMode").Text()}, at write {replication.At("newestSequence").Text()}, "
        + $"durable {replication.At("durableSequence").Text()}{string.Concat(new[] { "agentError", "linkError" }.Select(e => replication.At(e) is { } error ? $", {error.Text()}" : ""))}";

    /// <summary>Nobody knows what it does, nor how much it has to send.</summary>
    private static bool IsUnheard(JsonNode? replication) => replication is JsonObject && replication.At("agentConnected").Text() != "yes";

    private static string Point(JsonNode? point) => point is JsonObject ? $"{point.At("id").Text()} {Forms.ExactTime(point.At("at"))}" : Forms.ExactTime(point);

    private static bool IsAllowed(JsonNode action) => action is not JsonObject || action.At("allowed").Text() == "yes";

    private static void Section(DataWriter data, IReadOnlyList<JsonNode> items, IReadOnlyList<Column> columns)
    {
        if (items.Count == 0) return;
        data.Line();
        data.Table(items, columns);
    }
}
