using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using SiteRecovery.Actors.Configuration;

namespace SiteRecovery.Node.Http;

/// <summary>Bearer tokens, known by their SHA-256 only. The configuration server decides; while it cannot be reached, what it said lately holds.</summary>
public sealed class TokenStore(ControlPlane control, TimeProvider time)
{
    private const int KnownMax = 1000;
    private static readonly TimeSpan HoldsFor = TimeSpan.FromMinutes(10);
    private readonly ConcurrentDictionary<string, (Caller Caller, DateTimeOffset At)> _known = new(StringComparer.Ordinal);

    /// <summary>Whose token this is; null if nobody's.</summary>
    public async ValueTask<Caller?> FindAsync(string token, CancellationToken cancel)
    {
        var hash = HashOf(token);
        try
        {
            var found = await control.CheckTokenAsync(hash, cancel);
            if (found is null)
            {
                _known.TryRemove(hash, out _);
                return null;
            }
            if (_known.Count >= KnownMax) _known.Clear();
            return (_known[hash] = (new Caller(found.Name, RoleOf(found.Role)), time.GetUtcNow())).Caller;
        }
        catch (Akka.Actor.AskTimeoutException) when (_known.TryGetValue(hash, out var known) && time.GetUtcNow() - known.At < HoldsFor)
        {
            return known.Caller;
        }
    }

    public static string HashOf(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));

    public static string NewSecret() => RandomNumberGenerator.GetHexString(64, lowercase: true);

    private static AccessRole RoleOf(TokenRole role) => role switch
    {
        TokenRole.Operator => AccessRole.Operator,
        TokenRole.RecoveryAdmin => AccessRole.RecoveryAdmin,
        TokenRole.Administrator => AccessRole.Administrator,
        _ => AccessRole.Viewer,
    };
}
