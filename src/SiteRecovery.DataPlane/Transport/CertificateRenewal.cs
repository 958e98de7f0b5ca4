using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Body of <c>POST /api/v1/certificates</c>. Who asks, and is to be named, is what the certificate of the connection says.</summary>
/// <param name="Csr">PKCS#10 in PEM.</param>
public sealed record RenewalAsk(string Csr);

/// <summary>Its answer.</summary>
/// <param name="Certificate">PEM.</param>
public sealed record RenewalAnswer(string Certificate);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(RenewalAsk))]
[JsonSerializable(typeof(RenewalAnswer))]
internal sealed partial class RenewalJson : JsonSerializerContext;

/// <summary>Keeps an identity from running out: when less than a third of its certificate's life is left, it gets another one, with a key of its own.</summary>
/// <param name="folder">Where the identity is kept.</param>
/// <param name="sign">What the authority makes of a request; both PEM.</param>
/// <param name="say">Takes a line for the log.</param>
public sealed class CertificateRenewal(string folder, PeerIdentity identity, Func<string, CancellationToken, Task<string>> sign, TimeProvider time, Action<string> say)
{
    /// <summary>A third of a year is left for it.</summary>
    public static readonly TimeSpan LookEvery = TimeSpan.FromDays(1), TryAgainAfter = TimeSpan.FromHours(6);
    private const int AnswerBytesMax = 1 << 20;
    private bool _unkept;

    /// <summary>Until told to stop; what goes wrong is said, and tried again.</summary>
    /// <param name="looked">Told after each look.</param>
    public async Task RunAsync(Action looked, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var pause = await TryAsync(stop) ? LookEvery : TryAgainAfter;
            looked();
            await Task.Delay(pause, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <returns>False: it is due, and failed.</returns>
    public async Task<bool> TryAsync(CancellationToken stop)
    {
        if (!_unkept && !identity.IsDueAt(time.GetUtcNow())) return true;
        try
        {
            var ask = JoinRequest.Create(identity.Self.Name);
            var certificate = await sign(ask.RequestPem, stop);
            // One of a wrong clock would be kept over a good one.
            identity.CheckBetter(certificate, time.GetUtcNow());
            // In use before it is kept: a folder that takes nothing does not stop this process from being believed.
            identity.Take(certificate, ask.KeyPem);
            _unkept = true;
            PeerIdentity.Save(folder, certificate, ask.KeyPem, identity.AuthorityCertificate.ExportCertificatePem()).Dispose();
            _unkept = false;
            say($"the certificate of '{identity.Self.Name}' was renewed, and ends on {CertificateOutOfTimeException.Day(identity.EndsAt)}");
            return true;
        }
        catch (Exception) when (stop.IsCancellationRequested)
        {
            return false;
        }
        // Whatever it is: the process is needed for more than its certificate.
        catch (Exception failed)
        {
            say(_unkept
                ? $"the certificate of '{identity.Self.Name}' was renewed, but cannot be kept in {folder}: {failed.Message}; tried again in {TryAgainAfter.TotalHours:0} h"
                : $"the certificate of '{identity.Self.Name}', which {(identity.HasEndedAt(time.GetUtcNow()) ? "expired" : "ends")} on {CertificateOutOfTimeException.Day(identity.EndsAt)}, cannot be renewed: {failed.Message}; tried again in {TryAgainAfter.TotalHours:0} h");
            return false;
        }
    }

    /// <summary>Asks one node after another; the connection shows the certificate of now.</summary>
    /// <param name="urls">Of nodes; one of them holds the authority.</param>
    /// <returns>PEM.</returns>
    /// <exception cref="IOException">None of them signed it; the message says why the last one did not.</exception>
    public static async Task<string> AskAsync(PeerIdentity identity, IEnumerable<string> urls, string requestPem, CancellationToken stop)
    {
        using var handler = PeerTrust.HttpHandler(identity.AuthorityCertificate, identity.Certificate);
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(30), MaxResponseContentBufferSize = AnswerBytesMax };
        var why = "no node is known that could";
        foreach (var url in urls)
        {
            if (!PeerTrust.IsHttps(url))
            {
                why = $"{url} is not asked: use https://";
                continue;
            }
            try
            {
                using var answer = await http.PostAsJsonAsync(new Uri(new Uri(url), "/api/v1/certificates"), new RenewalAsk(requestPem), RenewalJson.Default.RenewalAsk, stop);
                if (answer.IsSuccessStatusCode && await answer.Content.ReadFromJsonAsync(RenewalJson.Default.RenewalAnswer, stop) is { Certificate: { } certificate }) return certificate;
                why = $"{url} refused ({(int)answer.StatusCode}): {JoinRefusal.TextOf(await answer.Content.ReadAsStringAsync(stop))}";
            }
            catch (Exception failed) when (failed is HttpRequestException or JsonException or TaskCanceledException && !stop.IsCancellationRequested)
            {
                why = $"{url}: {failed.InnerException?.Message ?? failed.Message}";
            }
        }
        throw new IOException(why);
    }
}
