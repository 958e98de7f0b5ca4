using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SiteRecovery.DataPlane.Storage;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>The cluster's certificate authority: whoever it signed is a peer, and nobody else is.</summary>
public sealed class Authority : IDisposable
{
    private const string CertificateFile = "ca.crt", KeyFile = "ca.key";
    /// <summary>TLS does not send a root. A joiner that knows only its fingerprint needs it, so every certificate carries it.</summary>
    internal const string EmbeddedAuthority = "2.25.1397903186.1";
    private static readonly TimeSpan Backdate = TimeSpan.FromDays(1);
    private readonly X509Certificate2 _certificate;
    private readonly TimeProvider _time;

    private Authority(X509Certificate2 certificate, TimeProvider time) => (_certificate, _time) = (certificate, time);

    public X509Certificate2 Certificate => _certificate;
    public string CertificatePem => _certificate.ExportCertificatePem();

    /// <summary>SHA-256 of the authority's certificate, lower-case hex.</summary>
    public string Fingerprint => FingerprintOf(_certificate);

    public static string FingerprintOf(X509Certificate2 certificate) => Convert.ToHexStringLower(SHA256.HashData(certificate.RawDataMemory.Span));

    public static bool ExistsIn(string folder) => File.Exists(Path.Combine(folder, CertificateFile));

    public static Authority Load(string folder, TimeProvider time) => new(
        X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(folder, CertificateFile)), File.ReadAllText(Path.Combine(folder, KeyFile))), time);

    public static Authority LoadOrCreate(string folder, string clusterName, TimeProvider time) =>
        ExistsIn(folder) ? Load(folder, time) : Create(folder, clusterName, time);

    public static Authority Create(string folder, string clusterName, TimeProvider time)
    {
        if (ExistsIn(folder)) throw new InvalidOperationException($"{folder} holds an authority already");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(NameOf(clusterName, null), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var now = time.GetUtcNow();
        var certificate = request.CreateSelfSigned(now - Backdate, now.AddYears(10));
        Directory.CreateDirectory(folder);
        SecretFile.Write(Path.Combine(folder, KeyFile), key.ExportPkcs8PrivateKeyPem());
        SecretFile.Write(Path.Combine(folder, CertificateFile), certificate.ExportCertificatePem());
        return new Authority(certificate, time);
    }

    /// <summary>Signs a join request for one year. Name and role are what the caller granted; the request's own subject is not believed.</summary>
    /// <exception cref="CryptographicException">The request is malformed or not signed by its own key.</exception>
    public string Sign(string requestPem, string name, PeerRole role, params string[] addresses)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var asked = Read(requestPem);
        var request = new CertificateRequest(NameOf(name, role), asked.PublicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        request.CertificateExtensions.Add(AlternativeNames([name, .. addresses]));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_certificate, true, false));
        request.CertificateExtensions.Add(new X509Extension(EmbeddedAuthority, _certificate.RawData, false));
        var now = _time.GetUtcNow();
        var end = now.AddYears(1) < _certificate.NotAfter ? now.AddYears(1) : new DateTimeOffset(_certificate.NotAfter);
        using var signed = request.Create(_certificate, now - Backdate < _certificate.NotBefore ? new DateTimeOffset(_certificate.NotBefore) : now - Backdate,
            end, RandomNumberGenerator.GetBytes(16));
        return signed.ExportCertificatePem();
    }

    /// <summary>When one of an authority's certificates was signed, by the authority's clock, to the second.</summary>
    public static DateTimeOffset SignedAt(X509Certificate2 certificate) => new DateTimeOffset(certificate.NotBefore) + Backdate;

    /// <summary>Signs for a peer that has shown its certificate: name, role and addresses are those of that one.</summary>
    /// <exception cref="CryptographicException">The request is malformed or not signed by its own key.</exception>
    /// <exception cref="ArgumentException">The certificate names no peer.</exception>
    public string Renew(string requestPem, X509Certificate2 shown)
    {
        var peer = Peer.Of(shown) ?? throw new ArgumentException("it names no peer", nameof(shown));
        var names = shown.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(n => n.EnumerateDnsNames().Concat(n.EnumerateIPAddresses().Select(a => a.ToString())));
        return Sign(requestPem, peer.Name, peer.Role, [.. names]);
    }

    private static CertificateRequest Read(string requestPem)
    {
        try
        {
            return CertificateRequest.LoadSigningRequestPem(requestPem, HashAlgorithmName.SHA256);
        }
        catch (NotSupportedException unknown)
        {
            throw new CryptographicException(unknown.Message, unknown);
        }
    }

    /// <summary>Key, request and signature at once, for a node that holds the authority itself.</summary>
    public PeerIdentity Issue(string name, PeerRole role, params string[] addresses)
    {
        var join = JoinRequest.Create(name);
        return PeerIdentity.FromPem(Sign(join.RequestPem, name, role, addresses), join.KeyPem, CertificatePem);
    }

    /// <summary>As <see cref="Issue"/>, kept in a folder.</summary>
    public PeerIdentity IssueInto(string folder, string name, PeerRole role, params string[] addresses)
    {
        var join = JoinRequest.Create(name);
        return PeerIdentity.Save(folder, Sign(join.RequestPem, name, role, addresses), join.KeyPem, CertificatePem);
    }

    internal static X500DistinguishedName NameOf(string name, PeerRole? role)
    {
        var builder = new X500DistinguishedNameBuilder();
        builder.AddCommonName(name);
        if (role is { } known) builder.AddOrganizationalUnitName(known == PeerRole.Node ? "node" : "agent");
        return builder.Build();
    }

    private static X509Extension AlternativeNames(IEnumerable<string> names)
    {
        var builder = new SubjectAlternativeNameBuilder();
        foreach (var name in names.Concat(["localhost", "127.0.0.1", Environment.MachineName]).Distinct(StringComparer.OrdinalIgnoreCase))
        {
            if (IPAddress.TryParse(name, out var address)) builder.AddIpAddress(address);
            else if (Uri.CheckHostName(name) == UriHostNameType.Dns) builder.AddDnsName(name);
        }
        return builder.Build();
    }

    public void Dispose() => _certificate.Dispose();
}

/// <summary>What a joining node or agent is given, as one text: <c>id.secret.fingerprint</c>.</summary>
public sealed record JoinToken(string Id, string Secret, string Fingerprint)
{
    public static JoinToken Create(string fingerprint) => new(
        RandomNumberGenerator.GetHexString(12, lowercase: true), RandomNumberGenerator.GetHexString(40, lowercase: true), fingerprint);

    public static JoinToken? Parse(string? text) =>
        text?.Split('.') is [{ Length: > 0 } id, { Length: > 0 } secret, { Length: 64 } fingerprint] ? new JoinToken(id, secret, fingerprint) : null;

    public bool SecretIs(string other) => CryptographicOperations.FixedTimeEquals(
        System.Text.Encoding.UTF8.GetBytes(Secret), System.Text.Encoding.UTF8.GetBytes(other));

    public override string ToString() => $"{Id}.{Secret}.{Fingerprint}";
}

internal static class SecretFile
{
    /// <summary>Replaces a file by one that only its owner can read, from its first byte on.</summary>
    internal static void Write(string path, string text)
    {
        var temporary = path + ".tmp";
        File.Delete(temporary);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var file = new FileStream(temporary, options))
        {
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }
        Move(temporary, path);
    }

    /// <summary>Durable when it returns.</summary>
    internal static void Move(string from, string to)
    {
        RealFileSystem.Instance.Rename(from, to);
        RealFileSystem.Instance.FlushFolder(Path.GetDirectoryName(Path.GetFullPath(to))!);
    }
}
