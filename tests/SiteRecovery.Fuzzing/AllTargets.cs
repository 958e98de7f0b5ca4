using SiteRecovery.Fuzzing.Targets;

namespace SiteRecovery.Fuzzing;

internal static class AllTargets
{
    private static readonly SortedDictionary<string, Func<FuzzTarget>> Makers = new(StringComparer.Ordinal)
    {
        ["batch"] = () => new BatchTarget(),
        ["wire"] = () => new WireTarget(),
        ["agent"] = () => new AgentTarget(),
        ["bitmap"] = () => new BitmapTarget(),
        ["overlay"] = () => new OverlayTarget(),
        ["capture-json"] = () => new CaptureStateTarget(),
        ["spool"] = () => new SpoolTarget(),
        ["store"] = () => new StoreTarget(encrypted: false),
        ["store-sealed"] = () => new StoreTarget(encrypted: true),
        ["store-files"] = () => new StoreFilesTarget(),
        ["nbd-server"] = () => new NbdServerTarget(),
        ["nbd-client"] = () => new NbdClientTarget(),
        ["channel"] = () => new ChannelTarget(intoStore: false),
        ["channel-store"] = () => new ChannelTarget(intoStore: true),
        ["settings"] = () => new SettingsTarget(),
        ["domain-xml"] = () => new DomainXmlTarget(),
        ["machine-json"] = () => new MachineJsonTarget(),
        ["srctl"] = () => new ArgumentsTarget(),
        ["qmp"] = () => new QmpTarget(),
        ["join"] = () => new JoinTarget(),
        ["settings-over"] = () => new SettingsOverlayTarget(),
        ["srctl-run"] = () => new SrctlTarget(),
        ["node-files"] = () => new NodeFilesTarget(),
        ["agent-files"] = () => new AgentFilesTarget(),
        ["keys"] = () => new KeyTarget(),
        ["events"] = () => new EventsTarget(),
        ["messages"] = () => new MessagesTarget(),
        ["http"] = () => new HttpTarget(),
    };

    internal static IEnumerable<string> Names => Makers.Keys;

    internal static FuzzTarget Of(string name) => Makers.TryGetValue(name, out var make) ? make() : throw new ArgumentException($"there is no target {name}", nameof(name));
}
