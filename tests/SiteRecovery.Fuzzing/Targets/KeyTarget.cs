using System.Text;
using SiteRecovery.DataPlane.Keys;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>What a key command writes, a key's file, what it has wrapped, and the keys that lie beside a store.</summary>
internal sealed class KeyTarget : ManyReadersTarget
{
    private readonly string _said = Path.GetTempFileName();
    private readonly KeyCommand _command;

    public KeyTarget()
    {
        _command = new KeyCommand($"cat {_said}; true");
        var own = new MemoryFiles { ["/key"] = Encoding.ASCII.GetBytes(new string('7', 64)) };
        var file = new KeyFile("/key", own);
        var store = new MemoryFiles();
        var wrappings = new KeyWrappings(file, [], KeyWrappings.RenewAfterDefault);
        using (var keys = new StoreKeys("/s", store, wrappings, TimeProvider.System, readOnly: false)) keys.Renew();
        Readers =
        [
            new([Encoding.ASCII.GetBytes(Convert.ToBase64String(new byte[32]) + "\n")], Hear),
            new([own["/key"], Encoding.ASCII.GetBytes(Convert.ToBase64String(new byte[32])), new byte[32]], bytes => new KeyFile("/key", new MemoryFiles { ["/key"] = bytes }).Wrap(new byte[32])),
            new([Encoding.ASCII.GetBytes(file.Wrap(new byte[32]))], bytes => file.Unwrap(Encoding.UTF8.GetString(bytes))),
            new([store["/s/KEYS.json"]], bytes => Open(bytes, store["/s/KEYS-2.json"], wrappings)),
            new([store["/s/KEYS.json"]], bytes => Open(bytes, bytes, wrappings)),
        ];
    }

    internal override string Name => "keys";
    internal override bool IsText => true;
    internal override int InputBytesMax => 4 << 10;
    internal override bool AllocatesElsewhere => true;
    internal override long AllocatedMax(int inputBytes) => 4L << 20;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("version", "keys", "id", "madeAt", "by", "wrapped", "checksum"), "="u8.ToArray(), "\n"u8.ToArray()];
    protected override IReadOnlyList<Reader> Readers { get; }
    internal override bool Expects(Exception refusal) => refusal is StoreLockedException;

    internal override void Repair(byte[] input, Random random)
    {
        if (input.Length == 0 || input[0] % Readers.Count < 3) return;
        var file = input[1..];
        Checksums.File("KEYS.json", file);
        file.CopyTo(input, 1);
    }

    /// <summary>A long one goes on and on.</summary>
    private void Hear(byte[] bytes)
    {
        using (var said = File.Create(_said))
            for (var times = bytes.Length > 2 << 10 ? 4 << 10 : 1; times > 0; times--) said.Write(bytes);
        _command.Wrap(new byte[32]);
        _command.Unwrap("x");
    }

    private static void Open(byte[] first, byte[] second, KeyWrappings wrappings)
    {
        var files = new MemoryFiles { ["/s/KEYS.json"] = first, ["/s/KEYS-2.json"] = second };
        using var keys = new StoreKeys("/s", files, wrappings, TimeProvider.System, readOnly: false);
        keys.Check();
        keys.Renew();
        keys.Mend();
    }

    public override void Dispose()
    {
        base.Dispose();
        File.Delete(_said);
    }
}
