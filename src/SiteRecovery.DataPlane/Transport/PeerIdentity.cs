using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SiteRecovery.DataPlane.Transport;

public enum PeerRole { Node, Agent }

/// <summary>Who a certificate of the cluster's authority says the other end is.</summary>
public sealed record Peer(string Name, PeerRole Role)
{
    /// <summary>Null also where its names cannot be read.</summary>
    public static Peer? Of(X509Certificate? certificate)
    {
        try
        {
            return certificate is null ? null : Named(certificate);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private static Peer? Named(X509Certificate certificate)
    {
        using var own = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        string? name = null;
        PeerRole? role = null;
        foreach (var part in own.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements) return null;
            var value = part.GetSingleElementValue();
            if (part.GetSingleElementType().Value == "2.5.4.3") name = value;
            if (part.GetSingleElementType().Value == "2.5.4.11") role = value switch { "node" => PeerRole.Node, "agent" => PeerRole.Agent, _ => null };
        }
        return name is null || role is null ? null : new Peer(name, role.Value);
    }
}

/// <summary>A new key and what the authority has to sign; made by the side that joins, the key never leaves it.</summary>
public sealed record JoinRequest(string KeyPem, string RequestPem)
{
    public static JoinRequest Create(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(Authority.NameOf(name, null), key, HashAlgorithmName.SHA256);
        return new JoinRequest(key.ExportPkcs8PrivateKeyPem(), request.CreateSigningRequestPem());
    }
}

/// <summary>A certificate with its key and the authority that it trusts: one end of every mutual TLS connection of the cluster.</summary>
public sealed class PeerIdentity : IDisposable
{
    private const string CertificateFile = "node.crt", KeyFile = "node.key", AuthorityFile = "ca.crt";

    private PeerIdentity(X509Certificate2 certificate, X509Certificate2 authority)
    {
        (Certificate, AuthorityCertificate) = (certificate, authority);
        Self = Peer.Of(certificate) ?? throw new InvalidDataException("the certificate names no peer (CN and OU node or agent)");
    }

    public X509Certificate2 Certificate { get; }
    public X509Certificate2 AuthorityCertificate { get; }
    public Peer Self { get; }

    /// <summary>SHA-256 of the authority's certificate, lower-case hex.</summary>
    public string Fingerprint => Authority.FingerprintOf(AuthorityCertificate);

    public static PeerIdentity FromPem(string certificatePem, string keyPem, string authorityPem) =>
        new(X509Certificate2.CreateFromPem(certificatePem, keyPem), X509Certificate2.CreateFromPem(authorityPem));

    public static bool ExistsIn(string folder) => File.Exists(Path.Combine(folder, CertificateFile));

    public static PeerIdentity Load(string folder) => FromPem(
        File.ReadAllText(Path.Combine(folder, CertificateFile)), File.ReadAllText(Path.Combine(folder, KeyFile)), File.ReadAllText(Path.Combine(folder, AuthorityFile)));

    /// <summary>Writes the key first, readable by its owner only, and the certificate last: a certificate in the folder means a whole identity.</summary>
    public static PeerIdentity Save(string folder, string certificatePem, string keyPem, string authorityPem)
    {
        var identity = FromPem(certificatePem, keyPem, authorityPem);
        Directory.CreateDirectory(folder);
        SecretFile.Write(Path.Combine(folder, KeyFile), keyPem);
        SecretFile.Write(Path.Combine(folder, AuthorityFile), authorityPem);
        SecretFile.Write(Path.Combine(folder, CertificateFile), certificatePem);
        return identity;
    }

    /// <summary>For a listener: demands a client certificate that ends in this authority.</summary>
    public SslServerAuthenticationOptions ForServer() => new()
    {
        ServerCertificate = Certificate,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = PeerTrust.InAuthority(AuthorityCertificate),
    };

    /// <summary>For a connection to a peer: the chain decides, not the host name, as peers are found by addresses that change.</summary>
    public SslClientAuthenticationOptions ForClient(string host = "siterecovery") => new()
    {
        TargetHost = host,
        ClientCertificates = [Certificate],
        LocalCertificateSelectionCallback = (_, _, _, _, _) => Certificate,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = PeerTrust.InAuthority(AuthorityCertificate, PeerRole.Node),
    };

    public void Dispose()
    {
        Certificate.Dispose();
        AuthorityCertificate.Dispose();
    }
}

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

    private static bool CarriesAuthority(X509Certificate certificate, string fingerprint)
    {
        using var leaf = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        if (leaf.Extensions[Authority.EmbeddedAuthority] is not { } embedded) return false;
        if (!string.Equals(Convert.ToHexString(SHA256.HashData(embedded.RawData)), fingerprint, StringComparison.OrdinalIgnoreCase)) return false;
        using var authority = X509CertificateLoader.LoadCertificate(embedded.RawData);
        return EndsIn(certificate, authority);
    }

    /// <summary>HTTPS to a server of a known authority; with an identity as this side's certificate.</summary>
    public static SocketsHttpHandler HttpHandler(X509Certificate2 authority, X509Certificate2? own = null)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = InAuthority(authority, PeerRole.Node);
        if (own is not null) handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => own;
        return handler;
    }

    /// <summary>HTTPS for the first join, when only the authority's fingerprint is known.</summary>
    public static SocketsHttpHandler JoinHandler(string fingerprint)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = WithFingerprint(fingerprint);
        return handler;
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

    private static bool EndsIn(X509Certificate certificate, X509Certificate2 authority)
    {
        using var leaf = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        return chain.Build(leaf) && chain.ChainElements[^1].Certificate.RawDataMemory.Span.SequenceEqual(authority.RawDataMemory.Span);
    }
}
