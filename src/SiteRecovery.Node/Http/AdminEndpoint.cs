namespace SiteRecovery.Node.Http;

/// <summary>The HTTP admin endpoint: errors, then access, then one group of routes per noun.</summary>
public static class AdminEndpoint
{
    public static void Map(WebApplication app)
    {
        app.UseProblems();
        app.UseRouting();
        app.UseAccess();
        var api = app.MapGroup("/api/v1");
        StatusRoutes.Map(api);
        NodeRoutes.Map(api);
        JoinRoutes.Map(api);
        TokenRoutes.Map(api);
        VaultRoutes.Map(api);
        PolicyRoutes.Map(api);
        CloudRoutes.Map(api);
        NetworkMappingRoutes.Map(api);
        MachineRoutes.Map(api);
        RecoveryPointRoutes.Map(api);
        JobRoutes.Map(api);
        StatusRoutes.MapHealth(app);
        app.MapPrometheusScrapingEndpoint("/metrics").Needs(AccessRole.Viewer);
        app.MapOpenApi().NeedsNoToken();
    }
}
