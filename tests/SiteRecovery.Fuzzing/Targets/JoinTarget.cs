using System.Formats.Asn1;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>
/// What anybody may send before it is known who he is: a join token, a certificate request, the address in it, a certificate, the first bytes of a connection. Of a request and of a certificate also
/// what is signed alone: the signature is made right, by the key in the request, or by the authority as if that had been deceived.
/// </summary>
internal sealed class JoinTarget : ManyReadersTarget
{
    private static readonly byte[] EcdsaWithSha256 = [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sr-fuzz-");
    private readonly ECDsa _joining = ECDsa.Create(), _authoritys = ECDsa.Create();
    private readonly Authority _authority;
    private readonly RemoteCertificateValidationCallback[] _trust;

    public JoinTarget()
    {
        _authority = Authority.Create(_folder.FullName, "fuzz", TimeProvider.System);
        _authoritys.ImportFromPem(File.ReadAllText(Path.Combine(_folder.FullName, "ca.key")));
        _trust = [PeerTrust.InAuthority(_authority.Certificate), PeerTrust.InAuthority(_authority.Certificate, PeerRole.Node), PeerTrust.WithFingerprint(_authority.Fingerprint)];
        var join = JoinRequest.Create("n1");
        _joining.ImportFromPem(join.KeyPem);
        var request = Der(join.RequestPem);
        using var node = _authority.Issue("n1", PeerRole.Node, "10.0.0.1");
        using var agent = _authority.Issue("a1", PeerRole.Agent);
        byte[][] certificates = [node.Certificate.RawData, agent.Certificate.RawData, _authority.Certificate.RawData];
        using var rsa = RSA.Create(1024);
        var other = new CertificateRequest("CN=n1", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequestPem();
        Readers =
        [
            new([Encoding.ASCII.GetBytes(JoinToken.Create(_authority.Fingerprint).ToString())], text => _ = JoinToken.Parse(Encoding.UTF8.GetString(text))?.SecretIs("s")),
            new([Encoding.ASCII.GetBytes(join.RequestPem), Encoding.ASCII.GetBytes(other)], text => _authority.Sign(Encoding.UTF8.GetString(text), "n1", PeerRole.Node)),
            new([Signed(request)], inner => _authority.Sign(PemEncoding.WriteString("CERTIFICATE REQUEST", Sealed(inner, _joining)), "n1", PeerRole.Agent)),
            new(["10.0.0.1"u8.ToArray(), "fd00::1%3"u8.ToArray(), "n1.example"u8.ToArray()], text => _authority.Sign(join.RequestPem, "n1", PeerRole.Node, Encoding.UTF8.GetString(text))),
            new(certificates, Look),
            new([.. certificates.Select(Signed)], inner => Look(Sealed(inner, _authoritys))),
            new([Preamble.Of(ChannelKind.Data), Preamble.Of(ChannelKind.Control)], bytes => ReadPreamble(bytes)),
        ];
    }

    internal override string Name => "join";
    internal override int InputBytesMax => 8 << 10;
    internal override bool AllocatesElsewhere => false;
    internal override long AllocatedMax(int inputBytes) => (8L << 20) + 64L * inputBytes;
    internal override IReadOnlyList<byte[]> Words { get; } =
    [
        .. new[] { "-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n", "-----BEGIN NEW CERTIFICATE REQUEST-----", ".", "=", "xn--", "%1", "::" }.Select(Encoding.ASCII.GetBytes),
        EcdsaWithSha256, [0x06, 0x03, 0x55, 0x04, 0x03], [0x06, 0x03, 0x55, 0x04, 0x0B], [0x1E, 0x03, 0xD8, 0x00, 0x41], [0x30, 0x80], [0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], [0x05, 0x00], [0xA0, 0x00],
        [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01], [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01], [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01],
    ];

    protected override IReadOnlyList<Reader> Readers { get; }

    /// <summary>What the route answers by 400, and the listener by hanging up.</summary>
    internal override bool Expects(Exception refusal) => base.Expects(refusal) || refusal is CryptographicException or ArgumentException;

    /// <summary>As TLS hands it over: one that cannot be decoded at all does not come as far as here.</summary>
    private void Look(byte[] der)
    {
        X509Certificate2 certificate;
        try
        {
            certificate = X509CertificateLoader.LoadCertificate(der);
        }
        catch (CryptographicException)
        {
            return;
        }
        try
        {
            _ = Peer.Of(certificate);
            foreach (var trusts in _trust) trusts(this, certificate, null, SslPolicyErrors.None);
        }
        catch (Exception thrown)
        {
            throw new InvalidOperationException("who asks whether a certificate is trusted is to hear yes or no", thrown);
        }
        finally
        {
            certificate.Dispose();
        }
    }

    private static void ReadPreamble(byte[] bytes) => Preamble.ReadAsync(new MemoryStream(bytes), CancellationToken.None).AsTask().GetAwaiter().GetResult();

    private static byte[] Der(string pem)
    {
        var fields = PemEncoding.Find(pem);
        return Convert.FromBase64String(pem[fields.Base64Data]);
    }

    private static byte[] Signed(byte[] der) => new AsnReader(der, AsnEncodingRules.DER).ReadSequence().ReadEncodedValue().ToArray();

    private static byte[] Sealed(byte[] inner, ECDsa key) =>
        Tagged(0x30, [.. inner, .. EcdsaWithSha256, .. Tagged(0x03, [0, .. key.SignData(inner, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)])]);

    private static byte[] Tagged(byte tag, byte[] content) => content.Length < 128 ? [tag, (byte)content.Length, .. content] : [tag, 0x82, (byte)(content.Length >> 8), (byte)content.Length, .. content];

    public override void Dispose()
    {
        base.Dispose();
        _authority.Dispose();
        _joining.Dispose();
        _authoritys.Dispose();
        _folder.Delete(recursive: true);
    }
}
