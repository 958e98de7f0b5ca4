using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Node.Hosting;

/// <summary>What <c>siterecovery doctor</c> says of the certificates in the data folder of a node or an agent.</summary>
public static class CertificateCheck
{
    /// <summary>By then each is renewed twice over.</summary>
    private static readonly TimeSpan EndsSoon = TimeSpan.FromDays(60);
    /// <summary>Certificates end with their authority: from here on they get shorter.</summary>
    private static readonly TimeSpan AuthorityEndsSoon = TimeSpan.FromDays(366);

    /// <summary>No lines for a folder without a certificate; not good: something has ended, or cannot be read.</summary>
    public static IEnumerable<(bool Good, string Line)> Of(string dataFolder, TimeProvider time)
    {
        var pki = Path.Combine(dataFolder, "pki");
        if (!PeerIdentity.ExistsIn(pki)) return [];
        try
        {
            using var identity = PeerIdentity.Load(pki);
            return [OfPeer(identity, holdsAuthority: File.Exists(Path.Combine(pki, "ca.key")), time.GetUtcNow()), OfAuthority(identity.AuthorityCertificate, time.GetUtcNow())];
        }
        catch (Exception unreadable) when (unreadable is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException or InvalidDataException)
        {
            return [(false, $"broken   the certificate in {pki} cannot be read: {unreadable.Message}; run this as the account that it belongs to, or restore it from a backup")];
        }
    }

    private static (bool, string) OfPeer(PeerIdentity identity, bool holdsAuthority, DateTimeOffset now)
    {
        var (noun, day) = (identity.Self.Role == PeerRole.Node ? "node" : "agent", CertificateOutOfTimeException.Day(identity.EndsAt));
        var anew = holdsAuthority ? "start the node: it makes itself a new one"
            : $"start the {noun} with --join URL and --token-file FILE, with a new token ('srctl {noun} join-token --name {identity.Self.Name}'): it keeps its name";
        if (identity.HasEndedAt(now)) return (false, $"broken   the certificate of {noun} '{identity.Self.Name}' expired on {day}: {anew}");
        return (true, identity.EndsAt - now < EndsSoon
            ? $"warning  the certificate of {noun} '{identity.Self.Name}' ends on {day}, and should have been renewed by now: start the {noun} if it does not run, else look for 'cannot be renewed' in its log; once it has ended, {anew}"
            : $"ok       the certificate of {noun} '{identity.Self.Name}' ends on {day}; the {noun} renews it by itself");
    }

    private static (bool, string) OfAuthority(X509Certificate2 authority, DateTimeOffset now)
    {
        var (left, day) = (new DateTimeOffset(authority.NotAfter) - now, CertificateOutOfTimeException.Day(authority.NotAfter));
        return (left > TimeSpan.Zero, left <= TimeSpan.Zero ? $"broken   the cluster's authority expired on {day}: nothing of the cluster is trusted any more; see 'Certificates' in deploy/README.md"
            : left < AuthorityEndsSoon ? $"warning  the cluster's authority ends on {day}, and every certificate with it: nothing renews it; see 'Certificates' in deploy/README.md"
            : $"ok       the cluster's authority ends on {day}");
    }
}
