using System.Buffers.Binary;
using System.Text;
using SiteRecovery.Actors.ProcessServers;
using SiteRecovery.DataPlane.Hypervisors;
using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.Fuzzing.Targets;

/// <summary>Messages of the control channel, and what a process server makes of a status.</summary>
internal sealed class AgentTarget : FuzzTarget
{
    internal override string Name => "agent";
    internal override bool IsText => true;
    internal override int InputBytesMax => 8 << 10;
    internal override IReadOnlyList<byte[]> Words { get; } = [.. JsonWords.Of("type", "agentStatus", "agentHello", "tailRanges", "machines", "disks", "machine", "stale", "numbers", "page")];

    /// <summary>A message of 1 MiB may be announced, and gets its room before it has come: its sender has shown a certificate.</summary>
    internal override long AllocatedMax(int inputBytes) => (4L << 20) + 64L * inputBytes;

    internal override IEnumerable<byte[]> Seeds()
    {
        AgentMessage[] messages =
        [
            new AgentHello("agent-1", "0.1.0", ["db1", "db2"], "i-1"),
            new AgentStatus(new DateTimeOffset(2026, 11, 28, 0, 0, 0, TimeSpan.Zero), [new MachineStatus { Machine = "db1", Epoch = 2, Mode = "Streaming", NewestSequence = 7, Disks = [new DiskStatus(0, "vda", 1 << 20, "nbd+unix:///a?socket=b", null)], DrainedHash = "00" }]),
            new CommandDone("c1", null, "e1-s7"), new DiskInspected("c2", "/d", 1 << 20), new DiskList("c3", [new DiskFound("/d", 1)]), new MachineList("c4", new HostMachinePage([], false)),
            new ProtectMachine { Id = "c5", Machine = "db1", Epoch = 1, Disks = [new DiskAssignment(0, "vda", "/d", 1 << 20)], Stale = [0, 0, 4096] },
            new FenceMachine("c6", "db1", 2, true), new ReleaseMachine("c7", "db1", 2), new TakePoint("c8", "db1", "label", "crash-consistent"), new InspectDisk("c9", "/d"), new ListDisks("c10"),
            new ListMachines("c11", null, 0, 10), new ReportTail("c12", "db1"), new TailRanges("c13", "db1", 1, 9, [0, 0, 4096], 4294967297, 3), new StatusHeard(), new HelloRefused("two of them"),
        ];
        foreach (var message in messages) yield return Framed(AgentProtocol.Encode(message));
        yield return [.. messages.SelectMany(m => Framed(AgentProtocol.Encode(m)))];
    }

    internal override void Repair(byte[] input, Random random)
    {
        for (var at = 0; at + 4 <= input.Length;)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(input.AsSpan(at));
            if (length < 0 || length > input.Length - at - 4) BinaryPrimitives.WriteInt32LittleEndian(input.AsSpan(at), length = input.Length - at - 4);
            at += 4 + length;
        }
    }

    internal override void Run(byte[] input)
    {
        var channel = new ControlChannel(new MemoryStream(input, writable: false));
        while (channel.ReceiveMessageAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult() is { } message)
            if (message is AgentStatus status)
                foreach (var machine in status.Machines) AgentReports.MeasurementOf(machine, null, "agent-1");
    }

    private static byte[] Framed(byte[] message)
    {
        var framed = new byte[4 + message.Length];
        BinaryPrimitives.WriteInt32LittleEndian(framed, message.Length);
        message.CopyTo(framed, 4);
        return framed;
    }
}

/// <summary>What JSON is made of, with names that mean something to its reader.</summary>
internal static class JsonWords
{
    internal static IEnumerable<byte[]> Of(params string[] names) =>
        new[] { "null", "true", "false", "0", "-1", "1e999", "9223372036854775808", "\"\"", "[]", "{}", "[null]", "{\"", "\":", ",", "\\u0000", "\\ud800", "[[[[[[[[", "{\"a\":" }
            .Concat(names.Select(n => $"\"{n}\":")).Concat(names.Select(n => $"\"{n}\":null,")).Select(Encoding.UTF8.GetBytes);
}
