using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Storage;
using SiteRecovery.Node.Settings;

namespace SiteRecovery.EndToEnd.InProcess;

public sealed class SettingsTests
{
    private static readonly string Hocon = Path.Combine(AppContext.BaseDirectory, "hocon");
    private static readonly SettingsLoader Loader = new(RealFileSystem.Instance, Hocon);

    [Fact]
    public void Every_hocon_file_loads()
    {
        var files = Directory.GetFiles(Hocon, "*.conf", SearchOption.AllDirectories);
        Assert.True(files.Length >= 11);
        foreach (var file in files) Loader.ParseFile(file);
    }

    [Fact]
    public void The_reference_documents_exactly_the_settings_that_are_read()
    {
        var text = File.ReadAllText(Path.Combine(Hocon, "reference.conf"));
        Assert.Equal(SettingCatalogue.All.Select(s => s.Key), KeyScanner.Scan(text).Select(k => k.Key));
    }

    [Theory]
    [InlineData("siterecovery {\n  http {\n    wait-maxx = 3s\n  }\n}", "x.conf:3: 'siterecovery.http.wait-maxx' is not a setting. The nearest is 'siterecovery.http.wait-max'.")]
    [InlineData("# a\nsiterecovery.ports.http = many", "x.conf:2: 'siterecovery.ports.http' is 'many'; it must be a whole number.")]
    [InlineData("a = 1\nb = [c}d]\n", "x.conf:2: not valid HOCON: '}' in a list: put the text in quotes.")]
    [InlineData("a = [b = c\n]\n", "x.conf:1: not valid HOCON: '=' in a list: put the text in quotes.")]
    [InlineData("a { b = 1\n c\n}\n", "x.conf:2: not valid HOCON: 'c' has no value.")]
    [InlineData("a = \"\"\"\"b\n", "x.conf:1: not valid HOCON: 4 quotes in a row.")]
    [InlineData("a = \"\"\"b\"\"\"\"\"\n", "x.conf:1: not valid HOCON: quotes right behind quotes.")]
    [InlineData("a = 1\nb = \"\"\"c\n", "x.conf:2: not valid HOCON: quotes are not closed.")]
    [InlineData("a { b = [1, 2]\n", "x.conf:2: not valid HOCON: '{' is not closed.")]
    [InlineData("siterecovery.ports { http = 1, cluster = 70000 }", "x.conf:1: 'siterecovery.ports.cluster' is '70000'; it must lie between 0 and 65535.")]
    public void A_wrong_setting_names_file_line_and_what_is_right(string text, string message) =>
        Assert.Equal(message, Assert.Throws<SettingsException>(() => SettingsLoader.Parse(text, "x.conf")).Message);

    [Fact]
    public void A_substitution_is_refused() =>
        Assert.StartsWith("x.conf:2:", Assert.Throws<SettingsException>(() => SettingsLoader.Parse("a = 1\nb = ${a}", "x.conf")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_file_alone_is_enough()
    {
        var config = Loader.Load(Path.Combine(Hocon, "examples", "two-sites-secondary.conf"), new Dictionary<string, string>(), new Dictionary<string, string>());
        Assert.Equal("secondary", NodeSettings.Of(config, "data").Site);
    }

    [Fact]
    public void What_is_told_to_others_is_what_is_bound_unless_it_is_set()
    {
        var config = Loader.Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
        {
            ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "console", ["siterecovery.node.address"] = "10.0.0.5", ["siterecovery.advertised.data-port"] = "9999",
        });
        var settings = NodeSettings.Of(config, "data");
        Assert.Equal(("10.0.0.5", new NodePorts(8480, 8481, 9999, 8483)), (settings.Advertised.Address, settings.Advertised.Ports.Or(settings.Ports)));
    }

    [Theory]
    [InlineData("::1", "[::1]")]
    [InlineData("[::1]", "[::1]")]
    [InlineData("::ffff:10.0.0.5", "10.0.0.5")]
    [InlineData("DR-Host.example", "dr-host.example")]
    public void An_address_has_one_spelling(string given, string spelled)
    {
        var settings = At(given);
        Assert.Equal((spelled, spelled), (settings.Address, settings.Advertised.Address));
    }

    [Theory]
    [InlineData("0.0.0.0", "siterecovery.node.address is '0.0.0.0', and the other nodes and agents cannot reach this one there")]
    [InlineData("::", "siterecovery.node.address is '::', and the other nodes and agents cannot reach this one there")]
    [InlineData("fe80::1%1", "siterecovery.node.address is 'fe80::1%1': the zone")]
    [InlineData("two words", "siterecovery.node.address is 'two words', which is neither")]
    public void An_address_that_nobody_reaches_is_refused(string given, string why) =>
        Assert.StartsWith(why, Assert.Throws<SettingsException>(() => At(given)).Message, StringComparison.Ordinal);

    [Fact]
    public void All_addresses_of_a_host_can_be_bound_where_another_is_told()
    {
        var settings = At("0.0.0.0", "10.0.0.5");
        Assert.Equal(("0.0.0.0", "10.0.0.5"), (settings.Address, settings.Advertised.Address));
        Assert.StartsWith("siterecovery.advertised.address is", Assert.Throws<SettingsException>(() => At("10.0.0.5", "::")).Message, StringComparison.Ordinal);
    }

    private static NodeSettings At(string address, string advertised = "") => NodeSettings.Of(Loader.Load(null, new Dictionary<string, string>(), new Dictionary<string, string>
    {
        ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "console", ["siterecovery.node.address"] = address, ["siterecovery.advertised.address"] = advertised,
    }), "data");

    [Fact]
    public void Folders_to_boot_from_are_those_of_the_distributions_until_others_are_named()
    {
        NodeSettings With(params (string Key, string Value)[] more) => NodeSettings.Of(Loader.Load(null, new Dictionary<string, string>(),
            more.Append(("siterecovery.node.site", "lab")).Append(("siterecovery.node.roles", "console")).ToDictionary(m => m.Item1, m => m.Item2)), "data");
        Assert.Equal(BootFolders.Default.Folders, With().Hypervisor.Boot.Folders);
        Assert.Equal(["/boot", "/srv/kernels"], With((BootFolders.Setting, "/boot, /srv/kernels")).Hypervisor.Boot.Folders);
        foreach (var odd in (string[])["kernels", "/srv/../etc", "/srv/kernels/"])
            Assert.Contains($"'{odd}'", Assert.Throws<SettingsException>(() => With((BootFolders.Setting, odd))).Message, StringComparison.Ordinal);
    }

    [Fact, System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public void A_key_of_stores_that_everybody_can_read_is_told()
    {
        var folder = Directory.CreateTempSubdirectory("sr-key-");
        try
        {
            string Made(string name, UnixFileMode mode)
            {
                var path = Path.Combine(folder.FullName, name);
                File.WriteAllText(path, "");
                File.SetUnixFileMode(path, mode);
                return path;
            }
            var (open, shut) = (Made("open", UnixFileMode.UserRead | UnixFileMode.OtherRead), Made("shut", UnixFileMode.UserRead | UnixFileMode.GroupRead));
            Assert.Contains($"can read {open},", Assert.Single(new StoreKeySettings(shut, "", [open, "/nowhere"], TimeSpan.FromDays(90)).ReadableByAll()), StringComparison.Ordinal);
            Assert.Empty(new StoreKeySettings("", "", [], TimeSpan.FromDays(90)).ReadableByAll());
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void The_command_line_wins_over_the_environment_and_that_over_the_defaults()
    {
        var config = Loader.Load(null,
            new Dictionary<string, string> { ["SITERECOVERY__HTTP__WAIT_MAX"] = "7s", ["SITERECOVERY__PORTS__HTTP"] = "1" },
            new Dictionary<string, string> { ["siterecovery.ports.http"] = "2", ["siterecovery.node.site"] = "lab", ["siterecovery.node.roles"] = "console" });
        var settings = NodeSettings.Of(config, "data");
        Assert.Equal((2, 8481, TimeSpan.FromSeconds(7), "lab"), (settings.Ports.Http, settings.Ports.Cluster, settings.WaitMax, settings.Site));
    }
}
