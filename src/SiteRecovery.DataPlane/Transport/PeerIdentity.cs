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
    private const string CertificateFile = "node.crt", KeyFile = "node.key", NextKeyFile = "node.key.next", AuthorityFile = "ca.crt";
    private volatile X509Certificate2 _certificate;

    private PeerIdentity(X509Certificate2 certificate, X509Certificate2 authority)
    {
        (_certificate, AuthorityCertificate) = (certificate, authority);
        Self = Peer.Of(certificate) ?? throw new InvalidDataException("the certificate names no peer (CN and OU node or agent)");
    }

    /// <summary>The one of now: connections that begin show it, those that stand keep the one that they began with.</summary>
    public X509Certificate2 Certificate => _certificate;
    public X509Certificate2 AuthorityCertificate { get; }
    public Peer Self { get; }
    public DateTimeOffset EndsAt => new(_certificate.NotAfter);

    /// <summary>SHA-256 of the authority's certificate, lower-case hex.</summary>
    public string Fingerprint => Authority.FingerprintOf(AuthorityCertificate);

    public static PeerIdentity FromPem(string certificatePem, string keyPem, string authorityPem) =>
        new(X509Certificate2.CreateFromPem(certificatePem, keyPem), X509Certificate2.CreateFromPem(authorityPem));

    public static bool ExistsIn(string folder) => File.Exists(Path.Combine(folder, CertificateFile));

    public static PeerIdentity Load(string folder)
    {
        var (certificate, authority) = (File.ReadAllText(Path.Combine(folder, CertificateFile)), File.ReadAllText(Path.Combine(folder, AuthorityFile)));
        return FromPem(certificate, KeyIn(folder, certificate), authority);
    }

    /// <summary>
    /// Replaces what the folder holds. The new key lies beside the old one until its certificate is there, so that there is a key for the certificate at
    /// every moment; a certificate in the folder means a whole identity. Keys are readable by their owner only.
    /// </summary>
    public static PeerIdentity Save(string folder, string certificatePem, string keyPem, string authorityPem)
    {
        var identity = FromPem(certificatePem, keyPem, authorityPem);
        foreach (var _ in Saving(folder, certificatePem, keyPem, authorityPem))
        {
            // Each step is durable by itself.
        }
        return identity;
    }

    /// <summary>Names what each step has written.</summary>
    internal static IEnumerable<string> Saving(string folder, string certificatePem, string keyPem, string authorityPem)
    {
        var (key, next) = (Path.Combine(folder, KeyFile), Path.Combine(folder, NextKeyFile));
        Directory.CreateDirectory(folder);
        // A save that was cut short may have left there the key of the certificate that is in use.
        if (ExistsIn(folder) && File.Exists(next) && Fits(File.ReadAllText(Path.Combine(folder, CertificateFile)), File.ReadAllText(next)))
        {
            SecretFile.Move(next, key);
            yield return KeyFile;
        }
        SecretFile.Write(next, keyPem);
        yield return NextKeyFile;
        SecretFile.Write(Path.Combine(folder, AuthorityFile), authorityPem);
        yield return AuthorityFile;
        SecretFile.Write(Path.Combine(folder, CertificateFile), certificatePem);
        yield return CertificateFile;
        SecretFile.Move(next, key);
        yield return KeyFile;
    }

    private static string KeyIn(string folder, string certificatePem)
    {
        var next = Path.Combine(folder, NextKeyFile);
        return File.Exists(next) && File.ReadAllText(next) is var key && Fits(certificatePem, key) ? key : File.ReadAllText(Path.Combine(folder, KeyFile));
    }

    private static bool Fits(string certificatePem, string keyPem)
    {
        try
        {
            X509Certificate2.CreateFromPem(certificatePem, keyPem).Dispose();
            return true;
        }
        catch (Exception other) when (other is CryptographicException or ArgumentException)
        {
            return false;
        }
    }

    /// <summary>Whether less than a third of the certificate's life is left, or it has not begun: a clock was ahead when it was made.</summary>
    public bool IsDueAt(DateTimeOffset now)
    {
        var (begins, ends) = (BeginsAt, EndsAt);
        return now < begins || ends - now < (ends - begins) / 3;
    }

    /// <exception cref="InvalidDataException">By the clock of this host it is not valid now, or ends before the present one, which is.</exception>
    /// <exception cref="CryptographicException">It cannot be read.</exception>
    public void CheckBetter(string certificatePem, DateTimeOffset now)
    {
        using var made = X509Certificate2.CreateFromPem(certificatePem);
        var (begins, ends) = (new DateTimeOffset(made.NotBefore), new DateTimeOffset(made.NotAfter));
        if (now < begins || now >= ends || (ends < EndsAt && now >= BeginsAt))
            throw new InvalidDataException($"what was issued is valid from {begins.UtcDateTime:u} to {ends.UtcDateTime:u}, and it is {now.UtcDateTime:u} here: set the clocks of this host and of the node that issues certificates");
    }

    private DateTimeOffset BeginsAt => new(_certificate.NotBefore);

    public bool HasEndedAt(DateTimeOffset now) => now >= EndsAt;

    /// <summary>Takes another certificate of the same peer and authority, for the connections that begin from now on.</summary>
    /// <exception cref="InvalidDataException">It is of another peer or authority.</exception>
    /// <exception cref="CryptographicException">It cannot be read, or the key is not its own.</exception>
    public void Take(string certificatePem, string keyPem)
    {
        var renewed = X509Certificate2.CreateFromPem(certificatePem, keyPem);
        if (Peer.Of(renewed) == Self && PeerTrust.EndsIn(renewed, AuthorityCertificate, atAnyTime: true))
        {
            // The former one is left to the collector: a handshake may be using it.
            _certificate = renewed;
            return;
        }
        using (renewed) throw new InvalidDataException($"the certificate is of {renewed.Subject}, issued by {renewed.Issuer}, and not of {Self.Name} and this cluster");
    }

    /// <summary>For a listener: demands a client certificate that ends in this authority.</summary>
    /// <param name="role">Who may come; null: agents and nodes.</param>
    public SslServerAuthenticationOptions ForServer(PeerRole? role = null) => new()
    {
        ServerCertificateSelectionCallback = (_, _) => _certificate,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = PeerTrust.InAuthority(AuthorityCertificate, role),
    };

    /// <summary>For a connection to a peer: the chain decides, not the host name, as peers are found by addresses that change.</summary>
    /// <remarks>Of a certificate that has run out the handshake says so: <see cref="CertificateOutOfTimeException"/>.</remarks>
    public SslClientAuthenticationOptions ForClient(string host = "siterecovery")
    {
        var own = _certificate;
        return new()
        {
            TargetHost = host,
            ClientCertificates = [own],
            LocalCertificateSelectionCallback = (_, _, _, _, _) => own,
            EnabledSslProtocols = SslProtocols.Tls13,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            RemoteCertificateValidationCallback = PeerTrust.OfNode(AuthorityCertificate),
        };
    }

    public void Dispose()
    {
        _certificate.Dispose();
        AuthorityCertificate.Dispose();
    }
}
