namespace SiteRecovery.Node.Demo;

/// <param name="Seed">Decides what is written where; the same seed repeats a run.</param>
/// <param name="Stay">Keeps both sites up at the end until interrupted.</param>
/// <param name="Sabotage">Damages the replica before it is judged, so that a test sees the verdict turn red: "flip" a byte, or "drop" a write.</param>
/// <param name="ReportPath">Where the figures are written as JSON.</param>
public sealed record DemoOptions(int Seed, bool Stay, string? ReportPath, bool KeepFolder, string? Sabotage, CancellationToken Interrupted);
