using System.Text;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.Node.Http;

/// <summary>The first node's first act: an administrator's token in a file that only its user may read.</summary>
public sealed class FirstToken(DataFolder folder, ControlPlane control, TimeProvider time, ILogger<FirstToken> log) : BackgroundService
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private string _secret = "";

    /// <summary>Whether the cluster's configuration has answered: only then does the token open anything.</summary>
    public bool IsSeeded { get; private set; }

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        _secret = Secret(folder.In("admin.token"));
        return base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await control.ConfigureAsync(new SeedToken("first-node", new AccessToken("admin", TokenStore.HashOf(_secret), TokenRole.Administrator)), stoppingToken);
                IsSeeded = true;
                return;
            }
            catch (ProblemException)
            {
                IsSeeded = true; // there are tokens already
                return;
            }
            catch (Exception notYet) when (notYet is Akka.Actor.AskTimeoutException or InvalidOperationException)
            {
                log.LogInformation("the configuration does not answer yet: {Reason}", notYet.Message);
                await Task.Delay(RetryAfter, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private string Secret(string path)
    {
        if (folder.Files.TryReadAll(path) is { } kept) return Encoding.UTF8.GetString(kept).Trim();
        var secret = TokenStore.NewSecret();
        folder.WriteSecret(path, secret + "\n");
        Console.Error.WriteLine($"the administrator's token is in {path}");
        return secret;
    }
}
