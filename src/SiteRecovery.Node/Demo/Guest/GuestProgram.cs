namespace SiteRecovery.Node.Demo.Guest;

/// <summary>
/// The demo's guest: a machine whose whole software is the boot sector of its own disk, so that nothing but QEMU is needed for it. It checks every record that the disk holds
/// (<see cref="GuestRecord"/>), goes on behind the last one, and says after each what is durable. 16-bit code for a PC with a BIOS.
/// <code>
///   A nnnnnnnn llllllll ffffffff     records 1..n are on the disk; this is its life l, which found f of them when it began (hexadecimal)
///   F                                the disk refused; it is tried again at the next tick of the clock
/// </code>
/// The power button is looked for at every tick, and obeyed.
/// </summary>
internal static class GuestProgram
{
    private const int SectorBytes = 512, BatchRecords = 24; // a tick, of which a PC has 18.2 in a second
    // Where it keeps what, behind the boot sector. Packet: what the BIOS is told of a transfer.
    private const int Count = 0x7E00, Life = 0x7E04, Found = 0x7E08, Drive = 0x7E0C, Packet = 0x7E10, Record = 0x8000, ChunkSegment = 0x1000;
    private const int PowerStatus = 0x600, PowerEnable = 0x602, PowerControl = 0x604, SerialData = 0x3F8, SerialStatus = 0x3FD;

    /// <summary>The boot sector.</summary>
    internal static byte[] Sector()
    {
        var code = new MachineCode();
        Begin(code);
        Look(code);
        Work(code);
        Disk(code);
        Compose(code);
        Say(code);
        var sector = new byte[SectorBytes];
        code.ToBytes(lengthMax: 446).CopyTo(sector, 0); // up to where a partition table would be
        (sector[510], sector[511]) = (0x55, 0xAA);
        return sector;
    }

    private static void Begin(MachineCode code) => code
        .Put(0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0) // ds = es = ss = ax = 0
        .Put(0xBC).Word(0x7C00).Put(0xFC, 0xFB) // sp = 7C00; forwards; interrupts on
        .Put(0xB8).Word(ChunkSegment).Put(0x8E, 0xE0) // fs = the chunk's segment
        .Put(0x88, 0x16).Word(Drive) // the BIOS says in dl what it booted from
        .Put(0xBA).Word(PowerEnable).Put(0xB8).Word(0x0100).Put(0xEF) // the power button raises its bit
        .Put(0x66, 0x31, 0xC0) // eax = 0
        .Put(0x66, 0xA3).Word(Count).Put(0x66, 0xA3).Word(Life).Put(0x66, 0xA3).Word(Packet + 12)
        .Put(0x66, 0xC7, 0x06).Word(Packet).Double(GuestRecord.ChunkRecords << 16 | 0x10) // a whole chunk…
        .Put(0x66, 0xC7, 0x06).Word(Packet + 4).Double(ChunkSegment << 16); // …to its segment

    /// <summary>How many records there are: up to the first that is not what it must be.</summary>
    private static void Look(MachineCode code) => code
        .Place("look")
        .Put(0x8B, 0x1E).Word(Count).Put(0x83, 0xE3, GuestRecord.ChunkRecords - 1) // bx = place in the chunk
        .Put(0x75).Near("has chunk")
        .Put(0xE8).Far("place").Put(0xB4, 0x42).Put(0xE8).Far("transfer") // ah = 42: read
        .Place("has chunk")
        .Put(0xC1, 0xE3, 0x09) // bx = its offset
        .Put(0x64, 0x66, 0x8B, 0x57, 0x08) // edx = the life that it says
        .Put(0xE8).Far("compose")
        .Put(0x89, 0xDE, 0xBF).Word(Record).Put(0xB9).Word(SectorBytes / 4) // fs:si = what is there, es:di = what must be
        .Put(0x64, 0xF3, 0x66, 0xA7, 0x75).Near("begin") // compare; not equal: the end
        .Put(0x66, 0x89, 0x16).Word(Life)
        .Put(0x66, 0xFF, 0x06).Word(Count)
        .Put(0x66, 0x81, 0x3E).Word(Count).Double(GuestRecord.RecordsMax)
        .Put(0x72).Near("look")
        .Place("begin")
        .Put(0x66, 0xFF, 0x06).Word(Life)
        .Put(0x66, 0xA1).Word(Count).Put(0x66, 0xA3).Word(Found)
        .Put(0xC7, 0x06).Word(Packet + 2).Word(1) // from here on one sector…
        .Put(0x66, 0xC7, 0x06).Word(Packet + 4).Double(Record); // …from the record

    private static void Work(MachineCode code) => code
        .Place("tick")
        .Put(0xBA).Word(PowerStatus).Put(0xED, 0xF6, 0xC4, 0x01, 0x74).Near("on") // the button is not pressed
        .Put(0xBA).Word(PowerControl).Put(0xB8).Word(0x2000).Put(0xEF) // off
        .Place("on")
        .Put(0xBD).Word(BatchRecords) // bp
        .Place("next")
        .Put(0x66, 0x81, 0x3E).Word(Count).Double(GuestRecord.RecordsMax).Put(0x73).Near("wait") // full
        .Put(0x66, 0x8B, 0x16).Word(Life) // edx
        .Put(0xE8).Far("compose").Put(0xE8).Far("place")
        .Put(0xB8).Word(0x4300).Put(0xE8).Far("transfer") // ah = 43: write
        .Put(0x66, 0xFF, 0x06).Word(Count)
        .Put(0xE8).Far("say")
        .Put(0x4D, 0x75).Near("next")
        .Place("wait")
        .Put(0xF4, 0xEB).Near("tick"); // halt until the clock ticks

    /// <summary>"transfer" does what ah says until it is done; "place" puts the sector of the record after Count into the packet.</summary>
    private static void Disk(MachineCode code) => code
        .Place("transfer")
        .Put(0x50) // keep ax
        .Put(0xBE).Word(Packet).Put(0x8A, 0x16).Word(Drive).Put(0xCD, 0x13, 0x73).Near("done")
        .Put(0xB0, (byte)'F', 0xE8).Far("put").Put(0xB0, (byte)'\n', 0xE8).Far("put")
        .Put(0xF4, 0x58, 0xEB).Near("transfer") // halt for a tick, and again
        .Place("done")
        .Put(0x58, 0xC3)
        .Place("place")
        .Put(0x66, 0xA1).Word(Count).Put(0x66, 0x89, 0xC2) // edx = eax = Count
        .Put(0x66, 0x83, 0xE2, GuestRecord.ChunkRecords - 1) // edx: place in the chunk
        .Put(0x66, 0xC1, 0xE8, 0x06) // eax: number of the chunk…
        .Put(0x66, 0x69, 0xC0).Double(GuestRecord.ChunkStep).Put(0x66, 0x25).Double(GuestRecord.Chunks - 1) // …which chunk of the disk that is
        .Put(0x66, 0xC1, 0xE0, 0x06, 0x66, 0x01, 0xD0) // its first sector, and the place in it
        .Put(0x66, 0x05).Double(GuestRecord.FirstSector)
        .Put(0x66, 0xA3).Word(Packet + 8).Put(0xC3);

    /// <summary>The record after Count, of the life in edx.</summary>
    private static void Compose(MachineCode code) => code
        .Place("compose")
        .Put(0xBF).Word(Record)
        .Put(0x66, 0xB8).Double(GuestRecord.Magic).Put(0x66, 0xAB) // magic
        .Put(0x66, 0xA1).Word(Count).Put(0x66, 0x40, 0x66, 0xAB) // number
        .Put(0x66, 0x89, 0x15, 0x83, 0xC7, 0x04) // life
        .Put(0x66, 0xC1, 0xC2, 0x10, 0x66, 0x01, 0xD0, 0x66, 0xC1, 0xC2, 0x10) // eax += edx with its halves exchanged
        .Put(0xB9).Word(SectorBytes / 4 - 3)
        .Place("fill")
        .Put(0x66, 0x69, 0xC0).Double(GuestRecord.Factor).Put(0x66, 0x05).Double(GuestRecord.Addend).Put(0x66, 0xAB)
        .Put(0xE2).Near("fill").Put(0xC3);

    private static void Say(MachineCode code) => code
        .Place("say")
        .Put(0xB0, (byte)'A', 0xE8).Far("put")
        .Put(0x66, 0xA1).Word(Count).Put(0xE8).Far("number")
        .Put(0x66, 0xA1).Word(Life).Put(0xE8).Far("number")
        .Put(0x66, 0xA1).Word(Found).Put(0xE8).Far("number")
        .Put(0xB0, (byte)'\n')
        .Place("put") // al to the serial port, once that is ready
        .Put(0x50, 0xBA).Word(SerialStatus)
        .Place("busy")
        .Put(0xEC, 0xA8, 0x20, 0x74).Near("busy")
        .Put(0x58, 0xBA).Word(SerialData).Put(0xEE, 0xC3)
        .Place("number") // eax behind a space
        .Put(0x66, 0x50, 0xB0, (byte)' ', 0xE8).Far("put").Put(0x66, 0x58)
        .Put(0xB9).Word(8)
        .Place("digit")
        .Put(0x66, 0xC1, 0xC0, 0x04, 0x66, 0x50, 0x24, 0x0F) // the next four bits
        .Put(0x3C, 0x0A, 0x1C, 0x69, 0x2F) // as a hexadecimal digit
        .Put(0xE8).Far("put").Put(0x66, 0x58, 0xE2).Near("digit").Put(0xC3);
}
