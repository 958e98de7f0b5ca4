using System.Diagnostics.Metrics;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Node.Hosting;
using SiteRecovery.Node.Http;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.Node.Metrics;

/// <summary>
/// What the cluster's machines and nodes are like, as gauges under the meter "SiteRecovery". Sampled on the nodes that own the
/// machines; a gauge whose value is unknown is left out, never shown as 0.
/// </summary>
public sealed class ClusterMetrics : BackgroundService
{
    public const string MeterName = "SiteRecovery";
    private static readonly TimeSpan SampleEvery = TimeSpan.FromSeconds(5);
    private readonly Meter _meter = new(MeterName);
    private readonly ControlPlane _control;
    private readonly ClusterHost _cluster;
    private readonly TimeProvider _time;
    private readonly ILogger<ClusterMetrics> _log;
    private volatile IReadOnlyList<MachineView> _machines = [];
    private volatile IReadOnlyList<NodeView> _nodes = [];

    public ClusterMetrics(ControlPlane control, ClusterHost cluster, TimeProvider time, ILogger<ClusterMetrics> log)
    {
        (_control, _cluster, _time, _log) = (control, cluster, time, log);
        OfMachines("siterecovery.machine.rpo", "s", m => m.Rpo?.TotalSeconds);
        OfMachines("siterecovery.machine.last_recovery_point_timestamp", "s", m => m.NewestPoint?.At.ToUnixTimeMilliseconds() / 1000.0);
        OfMachines("siterecovery.machine.lag", "By", m => m.Lag?.Bytes);
        OfMachines("siterecovery.machine.healthy", null, m => m.Health.Status == HealthStatus.Healthy ? 1 : 0);
        OfMachines("siterecovery.machine.agent_connected", null, m => m.Replication is { } r ? r.AgentConnected ? 1 : 0 : null);
        OfMachines("siterecovery.machine.resync_remaining", "By", m => m.Progress is { } p ? p.BytesTotal - p.BytesDone : null);
        OfMachines("siterecovery.machine.recovery_points", null, m => m.Store?.Points);
        OfMachines("siterecovery.journal", "By", m => m.Store?.Bytes);
        OfMachines("siterecovery.spool", "By", m => m.Replication is { AgentConnected: true } r ? r.SpoolBytes : null);
        _meter.CreateObservableGauge("siterecovery.machine.state", () => _machines.Select(m =>
            new Measurement<int>(1, Tag("machine", m.Name), Tag("state", m.State))));
        _meter.CreateObservableGauge("siterecovery.node_up", () => _nodes.Select(n =>
            new Measurement<int>(n is { Reachable: true, Status: "up" } ? 1 : 0, Tag("node", n.Name ?? n.Address), Tag("site", n.Site))));
    }

    /// <summary>The nodes that own machines sample them; the others would only ask the same again.</summary>
    public static void AddTo(IServiceCollection services, NodeSettings settings)
    {
        if (settings.Is("configuration-server")) services.AddHostedService<ClusterMetrics>();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(SampleEvery, _time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                _nodes = await NodeRoutes.NodesAsync(_cluster, _control, stoppingToken);
                _machines = [.. (await MachineRoutes.ViewsAsync(_control, _time, stoppingToken)).Where(m => m.State != nameof(Phase.Unprotected))];
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                // Old values would say that all is well.
                (_machines, _nodes) = ([], []);
                _log.LogWarning("the cluster was not measured: {Reason}", error.Message);
            }
        }
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    private void OfMachines(string name, string? unit, Func<MachineView, double?> value) => _meter.CreateObservableGauge(name, () => _machines
        .Select(m => (m, Value: value(m))).Where(v => v.Value is not null)
        .Select(v => new Measurement<double>(v.Value!.Value, Tag("machine", v.m.Name), Tag("site", v.m.ActiveSite ?? ""))), unit);

    private static KeyValuePair<string, object?> Tag(string name, string value) => new(name, value);
}
