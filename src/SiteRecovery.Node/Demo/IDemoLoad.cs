namespace SiteRecovery.Node.Demo;

/// <summary>Where a copy of the machine is reached.</summary>
/// <param name="DiskUri">NBD.</param>
/// <param name="Consoles">Of the machine that runs on it; null where none does.</param>
public sealed record DemoPlace(string DiskUri, string? Consoles);

/// <summary>
/// What writes to the protected disk, and judges what a copy holds by its own ledger of what was acknowledged to it. It knows nothing of SiteRecovery but
/// where its disk is.
/// </summary>
public interface IDemoLoad : IAsyncDisposable
{
    /// <summary>"an independent writer"</summary>
    string Name { get; }

    /// <summary>What is told of the machine when it is protected: <c>source</c> of <c>POST /machines</c>.</summary>
    object Source { get; }

    /// <summary>HOCON for every node.</summary>
    string NodeSettings { get; }
    IReadOnlyList<string> AgentArguments { get; }

    /// <summary>It has ended though nobody ended it.</summary>
    bool HasEnded { get; }

    /// <summary>Writes that were acknowledged and not lost.</summary>
    long Acknowledged { get; }

    /// <summary>The disk is there, and nobody writes to it.</summary>
    Task PrepareAsync(CancellationToken stop);
    Task StartAsync(string diskUri, CancellationToken stop);

    /// <summary>A copy beside the running machine, which is thrown away afterwards.</summary>
    Task<PrefixVerdict> JudgeTestAsync(DemoPlace copy, CancellationToken stop);

    /// <summary>With its site, by SIGKILL.</summary>
    void Die();

    Task<PrefixVerdict> JudgeReplicaAsync(DemoPlace replica, CancellationToken stop);

    /// <summary>It writes to the replica, which was judged to be such a prefix.</summary>
    Task GoOnAsync(PrefixVerdict verdict, DemoPlace replica, CancellationToken stop);

    /// <summary>The old copy, which refuses a write already, is used as its owner would.</summary>
    /// <returns>What came of it; null: nothing is tried.</returns>
    Task<string?> TryOldCopyAsync(CancellationToken stop);

    /// <summary>For a planned failover.</summary>
    Task StopAsync(CancellationToken stop);

    /// <summary>After a planned failover: everything must be there.</summary>
    Task<PrefixVerdict> JudgeHomeAsync(DemoPlace home, CancellationToken stop);
}
