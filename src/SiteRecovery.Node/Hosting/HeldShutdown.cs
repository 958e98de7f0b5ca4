using Akka;
using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;

namespace SiteRecovery.Node.Hosting;

/// <summary>
/// Akka.Remote ends the whole actor system when somebody it connects to does not complete the TLS handshake, so that a node with a wrong
/// certificate goes down instead of being half a member. But a peer that dies under the handshake, or a line that swallows it, looks the
/// same, and must not take a configuration server along. So such a shutdown of a member waits in its first phase until there is a real
/// reason. A node that is no member yet may as well begin anew.
/// </summary>
internal sealed class HeldShutdown
{
    private const string Phase = CoordinatedShutdown.PhaseBeforeServiceUnbind;
    /// <summary>Exit code of Akka.Remote's TlsHandshakeFailureReason, which is internal to it.</summary>
    private const int TlsHandshakeFailure = 79;
    private readonly TaskCompletionSource _real = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The first phase may wait; 20 days stand for as long as it takes: the phases together must not exceed what a wait of the runtime takes, 24 days.</summary>
    public const string Hocon = $"coordinated-shutdown.phases.{Phase}.timeout = 20d";

    /// <summary>Before everything else that starts with the system.</summary>
    public void AddTo(AkkaConfigurationBuilder builder) => builder.WithActors((system, _) =>
    {
        var shutdown = CoordinatedShutdown.Get(system);
        shutdown.AddTask(Phase, "real-reason", async () =>
        {
            if (shutdown.ShutdownReason?.ExitCode == TlsHandshakeFailure && Cluster.Get(system).SelfMember.Status == MemberStatus.Up) await _real.Task;
            return Done.Instance;
        });
        // Downed: only the first shutdown of a system runs, so the one that waits becomes it.
        Cluster.Get(system).RegisterOnMemberRemoved(Release);
    });

    /// <summary>A real reason: a shutdown that waits goes on, or one begins.</summary>
    public void Begin(ActorSystem system, CoordinatedShutdown.Reason reason)
    {
        _ = CoordinatedShutdown.Get(system).Run(reason);
        Release();
    }

    /// <summary>The node ends, or leaves its cluster: whatever shutdown has begun goes on.</summary>
    public void Release() => _real.TrySetResult();
}
