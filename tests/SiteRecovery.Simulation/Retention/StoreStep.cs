using SiteRecovery.DataPlane.Blocks;
using SiteRecovery.DataPlane.Retention;

namespace SiteRecovery.Simulation.Retention;

/// <summary>What a store must hold: the disks as plain arrays that are never changed in place, and where its stream stands.</summary>
internal sealed record StoreState
{
    public required byte[][] Disks { get; init; }
    public int Epoch { get; init; } = 1;
    public long Newest { get; init; }
    public bool Gap { get; init; }
    public StreamPosition Held { get; init; }
    /// <summary>Of the newest frame, on the source's clock.</summary>
    public long Second { get; init; }
    /// <summary>Id of the newest viewable position.</summary>
    public string? Latest { get; init; }
    public long Incarnation { get; init; }
    /// <summary>0: the next frame begins a stream.</summary>
    public long Ordinal { get; init; }

    /// <summary>What tells a reopened store how far it came.</summary>
    public (int Epoch, StreamPosition Held) Key => (Epoch, Held);
}

/// <summary>A position that became viewable.</summary>
internal sealed record Reached(string Id, byte[][] Disks, long Second);

/// <summary>One thing that happens to a store. Doing it again after a crash comes to the same.</summary>
internal sealed record StoreStep(string Name, Action<StoreRun> Do, StoreState After)
{
    public IReadOnlyList<Reached> Reached { get; init; } = [];
    /// <summary>When it returns, it and all before it survives.</summary>
    public bool Durable { get; init; }
    public (string Id, bool Protected)? Note { get; init; }
    /// <summary>Positions up to that second may be given up.</summary>
    public long GivesUpTo { get; init; } = -1;
    public bool IsFold { get; init; }
    /// <summary>It adds to the history: where that did not survive, it comes again.</summary>
    public bool Adds { get; init; }
    public (string Id, string Label)? Marked { get; init; }
}

/// <summary>A store on a disk of its own, to which things happen.</summary>
internal sealed class StoreRun(World.SimDisk disk, StoreOptions options, TimeProvider time)
{
    internal const string Folder = "/stores/db1";

    public World.SimDisk Disk => disk;
    public RetentionStore Store { get; private set; } = null!;

    public static bool IsOn(World.SimDisk disk) => RetentionStore.Exists(Folder, disk);

    public void Create() => Store = RetentionStore.Create(Folder, StoreScript.Machine, StoreScript.Geometry, Domain.History.Epoch.First, disk, time, options: options);

    public void Open() => Store = RetentionStore.Open(Folder, disk, time, options: options);

    public void Reopen()
    {
        Store.Dispose();
        Open();
    }
}
