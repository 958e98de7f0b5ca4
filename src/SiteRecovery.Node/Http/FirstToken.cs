using System.Text;
using SiteRecovery.Actors.Configuration;
using SiteRecovery.Node.Hosting;

namespace SiteRecovery.Node.Http;

/// <summary>The first node's first act: an administrator's token in a file that only its user may read.</summary>
public sealed class FirstToken(DataFolder folder, ControlPlane control, TimeProvider time, ILogger<FirstToken> log) : BackgroundService
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly string _file = folder.In("admin.token"), _untried = folder.In("admin.token.untried");
    private string _secret = "";
    private bool _isOurs;

    /// <summary>Whether the cluster's configuration has answered: only then does the token open anything.</summary>
    public bool IsSeeded { get; private set; }

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        _secret = Secret();
        return base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await control.ConfigureAsync(new SeedToken("first-node", new AccessToken("admin", TokenStore.HashOf(_secret), TokenRole.Administrator)), stoppingToken);
                if (folder.Files.Exists(_untried)) Tell(() => folder.Files.Rename(_untried, _file));
                IsSeeded = true;
                return;
            }
            catch (ProblemException refused) when (refused.Status == 409)
            {
                // There are tokens already: this one opens nothing, and must not look as if it did.
                if (_isOurs) Forget();
                IsSeeded = true;
                return;
            }
            catch (Exception notYet) when (notYet is Akka.Actor.AskTimeoutException or InvalidOperationException or ProblemException or IOException)
            {
                log.LogInformation("the configuration does not answer yet: {Reason}", notYet.Message);
                await Task.Delay(RetryAfter, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>
    /// A new cluster's is in its place at once. A node that was here before has most likely had it taken away to a safer place: what is made now is only put there if it opens
    /// something, and is kept meanwhile, for a token that was accepted and is nowhere would open nothing for ever.
    /// </summary>
    private string Secret()
    {
        if (folder.Files.TryReadAll(_file) is { } kept) return Encoding.UTF8.GetString(kept).Trim();
        _isOurs = true;
        if (folder.Files.TryReadAll(_untried) is { } untried) return Encoding.UTF8.GetString(untried).Trim();
        var secret = TokenStore.NewSecret();
        if (folder.ReadEndpoints() is null) Tell(() => folder.WriteSecret(_file, secret + "\n"));
        else folder.WriteSecret(_untried, secret + "\n");
        return secret;
    }

    private void Tell(Action put)
    {
        put();
        folder.Files.FlushFolder(folder.Path);
        Console.Error.WriteLine($"the administrator's token is in {_file}");
    }

    private void Forget()
    {
        // Never one that somebody has put there meanwhile.
        foreach (var file in (string[])[_untried, _file])
            if (folder.Files.TryReadAll(file) is { } written && Encoding.UTF8.GetString(written).Trim() == _secret) folder.Files.Delete(file);
    }
}
