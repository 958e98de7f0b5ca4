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

    [Fact]
    public void Tiers_are_valid_equal_by_what_they_say_and_survive_JSON()
    {
        var policy = ReplicationPolicy.Default with { RetentionTiers = Tiers((1, 48), (24, 168)) };
        Assert.Empty(policy.Problems());
        Assert.Equal(policy, ReplicationPolicy.Default with { RetentionTiers = Tiers((1, 48), (24, 168)) });
        Assert.NotEqual(policy, ReplicationPolicy.Default with { RetentionTiers = Tiers((1, 48), (24, 169)) });
        Assert.Equal(policy, JsonSerializer.Deserialize<ReplicationPolicy>(JsonSerializer.Serialize(policy)));
        Assert.Null(RetentionTiers.Of([]));
    }

    private static RetentionTiers? Tiers(params (double Every, double KeepFor)[] hours) =>
        RetentionTiers.Of(hours.Select(h => new RetentionTier(TimeSpan.FromHours(h.Every), TimeSpan.FromHours(h.KeepFor))));

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
        { "retention.tiers[0].every", p => p with { RetentionTiers = Tiers((0.0001, 48)) } },
        { "retention.tiers[1].every", p => p with { RetentionTiers = Tiers((4, 48), (2, 96)) } },
        { "retention.tiers[0].keepFor", p => p with { RetentionTiers = Tiers((1, 24)) } },
        { "retention.tiers[1].keepFor", p => p with { RetentionTiers = Tiers((1, 48), (24, 60)) } },
        { "retention.tiers[0].keepFor", p => p with { RetentionTiers = Tiers((1, 100_000)) } },
        { "retention.tiers", p => p with { RetentionTiers = Tiers([.. Enumerable.Range(1, 9).Select(i => (i / 60d, 24d + i))]) } },
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
