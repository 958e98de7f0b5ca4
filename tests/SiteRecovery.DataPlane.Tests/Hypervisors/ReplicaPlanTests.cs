using SiteRecovery.DataPlane.Hypervisors;
using static SiteRecovery.DataPlane.Tests.Hypervisors.Machines;

namespace SiteRecovery.DataPlane.Tests.Hypervisors;

public sealed class ReplicaPlanTests
{
    [Fact]
    public void A_test_replica_can_stand_beside_its_source_and_reaches_no_network()
    {
        var replica = Test.Make(Everything);
        Assert.Equal(("db1-test", "db1"), (replica.Name, replica.ReplicaOf));
        Assert.NotEqual(Everything.Id, replica.Id);
        Assert.All(replica.Nics, nic => Assert.Null(nic.Network));
        Assert.Empty(replica.Nics.Select(n => n.Mac).Intersect(Everything.Nics.Select(n => n.Mac)));
        Assert.Equal(2, replica.Nics.Select(n => n.Mac).Distinct().Count());
        Assert.Equal(replica.ToJson(), Test.Make(Everything).ToJson());
        Assert.NotEqual(replica.Nics[0].Mac, (Test with { Name = "db1-test-2" }).Make(Everything).Nics[0].Mac);
    }

    [Fact]
    public void Its_disks_are_the_exports_in_the_places_of_the_sources_and_media_stay_behind()
    {
        var disks = Test.Make(Everything).Disks;
        Assert.Equal(["vda nbd+unix:///db1.vda?socket=/run/sr/exports.sock raw 1", "sda nbd://replica.example:10810/db1.sda raw "],
            disks.Select(d => $"{d.Target} {d.Source} {d.Format} {d.BootOrder}"));
    }

    [Fact]
    public void A_failover_replica_keeps_its_cards_and_joins_the_networks_that_are_mapped()
    {
        var plan = Test with { Purpose = ReplicaPurpose.Failover, Networks = new Dictionary<string, string?> { ["network:default"] = "bridge:dr0" } };
        Assert.Equal(["52:54:00:6d:90:02 bridge:dr0", "52:54:00:6d:90:03 "], plan.Make(Everything).Nics.Select(n => $"{n.Mac} {n.Network}"));
        var rest = plan with { Networks = new Dictionary<string, string?> { ["network:default"] = null, [ReplicaPlan.AnyNetwork] = "user" } };
        Assert.Equal([null, "user"], rest.Make(Everything).Nics.Select(n => n.Network));
    }

    [Fact]
    public void A_disk_that_nobody_serves_is_refused_unless_it_is_left_out_by_name()
    {
        var half = Test with { Disks = new Dictionary<string, string> { ["vda"] = Test.Disks["vda"] } };
        Assert.Contains("the disk sda of db1 is not protected", Assert.Throws<HypervisorException>(() => half.Make(Everything)).Message, StringComparison.Ordinal);
        Assert.Equal(["vda"], (half with { DisksLeftOut = ["sda"] }).Make(Everything).Disks.Select(d => d.Target));
        var foreign = Test with { Disks = new Dictionary<string, string>(Test.Disks) { ["vdz"] = Test.Disks["vda"] } };
        Assert.Contains("no disk vdz", Assert.Throws<HypervisorException>(() => foreign.Make(Everything)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nbd+unix:///a?socket=/run/s", "nbd+unix:///a?socket=/run/s")]
    [InlineData("nbd+unix:///a%20b.1?socket=/run/a%20b", "nbd+unix:///a%20b.1?socket=/run/a%20b")]
    [InlineData("nbd://host/x", "nbd://host:10809/x")]
    [InlineData("nbd://[::1]:7/x", "nbd://[::1]:7/x")]
    public void An_export_is_named_by_its_URI(string given, string kept) =>
        Assert.Equal(kept, (Test with { Disks = new Dictionary<string, string>(Test.Disks) { ["vda"] = given } }).Make(Everything).Disks[0].Source);

    [Theory]
    [InlineData("/a/path")]
    [InlineData("nbd+unix:///a")]
    [InlineData("http://host/x")]
    public void What_is_no_export_is_refused(string given) =>
        Assert.Throws<HypervisorException>(() => (Test with { Disks = new Dictionary<string, string>(Test.Disks) { ["vda"] = given } }).Make(Everything));
}
