using System.Text.Json;
using SiteRecovery.Domain.Policies;

namespace SiteRecovery.Domain.Tests.Policies;

public sealed class ReplicationPolicyTests
{
    [Fact]
    public void The_default_is_valid_and_survives_JSON()
    {
        Assert.Empty(ReplicationPolicy.Default.Problems());
        Assert.Equal(ReplicationPolicy.Default, JsonSerializer.Deserialize<ReplicationPolicy>(JsonSerializer.Serialize(ReplicationPolicy.Default)));
    }

    public static TheoryData<string, Func<ReplicationPolicy, ReplicationPolicy>> Mistakes => new()
    {
        { "rpoThreshold", p => p with { RpoThreshold = TimeSpan.FromDays(2) } },
        { "copyFrequency", p => p with { CopyFrequency = TimeSpan.FromSeconds(4) } },
        { "copyFrequency", p => p with { CopyFrequency = TimeSpan.FromMinutes(16) } },
        { "recoveryPoints.crashConsistentEvery", p => p with { CrashConsistentEvery = TimeSpan.Zero } },
        { "recoveryPoints.applicationConsistentEvery", p => p with { ApplicationConsistentEvery = TimeSpan.FromSeconds(1) } },
        { "retention.window", p => p with { RetentionWindow = TimeSpan.Zero } },
        { "retention.window", p => p with { RetentionWindow = TimeSpan.FromSeconds(1) } },
        { "retention.maxBytes", p => p with { RetentionBytesMax = 1 } },
        { "compression", p => p with { Compression = "zip" } },
        { "rpoThreshold", p => p with { CrashConsistentEvery = TimeSpan.FromMinutes(1) } },
    };

    [Theory]
    [MemberData(nameof(Mistakes), DisableDiscoveryEnumeration = true)]
    public void A_mistake_is_named_with_a_remedy(string setting, Func<ReplicationPolicy, ReplicationPolicy> mistake)
    {
        var problem = Assert.Single(mistake(ReplicationPolicy.Default).Problems(), p => p.Setting == setting);
        Assert.NotEmpty(problem.Remedy);
    }
}
