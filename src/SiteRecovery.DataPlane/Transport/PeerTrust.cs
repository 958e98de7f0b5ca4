using System.Globalization;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Which certificates of the other end are accepted.</summary>
public static class PeerTrust
{
    /// <summary>Accepts a certificate whose chain ends in exactly this authority and whose subject names a peer.</summary>
    public static RemoteCertificateValidationCallback InAuthority(X509Certificate2 authority, PeerRole? role = null) => (_, certificate, _, _) =>
        certificate is not null && Peer.Of(certificate) is { } peer && (role is null || peer.Role == role) && IsSound(() => EndsIn(certificate, authority));

    /// <summary>First join: accepts a node whose certificate carries an authority of the given fingerprint and whose chain ends in it.</summary>
    public static RemoteCertificateValidationCallback WithFingerprint(string fingerprint) => (_, certificate, _, _) =>
    {
        if (certificate is null || Peer.Of(certificate) is not { Role: PeerRole.Node }) return false;
        return IsSound(() => CarriesAuthority(certificate, fingerprint));
    };

    private static bool CarriesAuthority(X509Certificate certificate, string fingerprint, bool atAnyTime = false)
    {
        using var leaf = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        if (leaf.Extensions[Authority.EmbeddedAuthority] is not { } embedded) return false;
        if (!string.Equals(Convert.ToHexString(SHA256.HashData(embedded.RawData)), fingerprint, StringComparison.OrdinalIgnoreCase)) return false;
        using var authority = X509CertificateLoader.LoadCertificate(embedded.RawData);
        return EndsIn(certificate, authority, atAnyTime);
    }

    /// <summary>As <see cref="InAuthority"/> for nodes, and throws where nothing but the time is wrong with the certificate.</summary>
    internal static RemoteCertificateValidationCallback OfNode(X509Certificate2 authority) =>
        OrTold(InAuthority(authority, PeerRole.Node), certificate => EndsIn(certificate, authority, atAnyTime: true));

    private static RemoteCertificateValidationCallback OrTold(RemoteCertificateValidationCallback trusted, Func<X509Certificate, bool> atAnyTime) => (sender, certificate, chain, errors) =>
        trusted(sender, certificate, chain, errors)
        || (certificate is not null && Peer.Of(certificate) is { Role: PeerRole.Node } node && IsSound(() => atAnyTime(certificate)) ? throw CertificateOutOfTimeException.Of(node, certificate) : false);

    /// <summary>HTTPS to a server of a known authority; with an identity as this side's certificate.</summary>
    public static SocketsHttpHandler HttpHandler(X509Certificate2 authority, X509Certificate2? own = null)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = OfNode(authority);
        if (own is not null) handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => own;
        return handler;
    }

    /// <summary>HTTPS for the first join, when only the authority's fingerprint is known.</summary>
    public static SocketsHttpHandler JoinHandler(string fingerprint)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = OrTold(WithFingerprint(fingerprint), certificate => CarriesAuthority(certificate, fingerprint, atAnyTime: true));
        return handler;
    }

    /// <summary>Over anything but https nobody knows who answers, and what is told is told to all on the way.</summary>
    public static bool IsHttps(string url) => Uri.TryCreate(url, UriKind.Absolute, out var parsed) && parsed.Scheme == Uri.UriSchemeHttps;

    /// <summary>First join: what is kept from then on is the authority that the token names, and a certificate of its making.</summary>
    /// <exception cref="InvalidDataException">It is not.</exception>
    /// <exception cref="CryptographicException">One of them cannot be read.</exception>
    public static void CheckJoined(string certificatePem, string authorityPem, string name, string fingerprint)
    {
        using var authority = X509Certificate2.CreateFromPem(authorityPem);
        if (!string.Equals(Authority.FingerprintOf(authority), fingerprint, StringComparison.OrdinalIgnoreCase))
            throw new InvalidDataException("it comes with another authority than the join token names: check with whom the URL connects, and make a new token, as somebody may have this one");
        using var certificate = X509Certificate2.CreateFromPem(certificatePem);
        if (Peer.Of(certificate)?.Name != name || !EndsIn(certificate, authority, atAnyTime: true))
            throw new InvalidDataException($"it is of {certificate.Subject}, issued by {certificate.Issuer}, and not of '{name}' and the cluster of the join token");
    }

    /// <summary>What cannot be read of a certificate makes it one that is not trusted.</summary>
    private static bool IsSound(Func<bool> look)
    {
        try
        {
            return look();
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    internal static bool EndsIn(X509Certificate certificate, X509Certificate2 authority, bool atAnyTime = false)
    {
        using var leaf = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        if (atAnyTime) chain.ChainPolicy.VerificationFlags = X509VerificationFlags.IgnoreNotTimeValid;
        return chain.Build(leaf) && chain.ChainElements[^1].Certificate.RawDataMemory.Span.SequenceEqual(authority.RawDataMemory.Span);
    }
}

/// <summary>The certificate of a node of this cluster is good but for its time.</summary>
/// <param name="what">Of whom it is and when it ended.</param>
/// <param name="remedy">What to do about it.</param>
public sealed class CertificateOutOfTimeException(string what, string remedy) : AuthenticationException($"{what}: {remedy}")
{
    public string What { get; } = what;
    public string Remedy { get; } = remedy;

    internal static CertificateOutOfTimeException Of(Peer node, X509Certificate certificate)
    {
        using var own = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        using var chain = new X509Chain();
        return chain.ChainPolicy.VerificationTime < own.NotBefore
            ? new($"the certificate of node '{node.Name}' is valid only from {Day(own.NotBefore)} on", "set the clock of this host, or that of the node, right")
            : new($"the certificate of node '{node.Name}' expired on {Day(own.NotAfter)}",
                $"start that node again: the first node of a cluster makes itself a new one, another one needs --join URL and --token-file FILE (srctl node join-token --name {node.Name} makes a token); if it has not expired, set this host's clock right");
    }

    /// <summary>UTC.</summary>
    public static string Day(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
}
