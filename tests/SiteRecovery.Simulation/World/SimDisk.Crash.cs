namespace SiteRecovery.Simulation.World;

/// <content>What is left when a process or its host ends.</content>
public sealed partial class SimDisk
{
    /// <summary>The disk as the next process finds it after kill -9: with everything, though what was not flushed may still be lost later.</summary>
    public SimDisk Kill()
    {
        lock (_gate) return new SimDisk(BootId, new Image(null).Of(_root), CapacityBytes);
    }

    /// <summary>The disk after a loss of power: of what was not flushed the seed keeps, loses, reorders and tears.</summary>
    public SimDisk LosePower(int seed)
    {
        lock (_gate)
        {
            var random = new Random(seed);
            var boot = new byte[16];
            random.NextBytes(boot);
            return new SimDisk(new Guid(boot), new Image(random).Of(_root), CapacityBytes);
        }
    }

    /// <summary>From here on every I/O through this disk fails: whoever still runs on it is dead.</summary>
    public void TurnOff()
    {
        lock (_gate) _off = true;
    }

    /// <param name="random">Null: nothing is lost.</param>
    private sealed class Image(Random? random)
    {
        private readonly Dictionary<SimNode, SimNode> _made = [];
        private readonly Fate? _same = random is null || random.Next(2) == 0 ? null : Any(random);

        internal SimFolder Of(SimFolder folder)
        {
            var made = new SimFolder();
            _made[folder] = made;
            if (random is not null)
            {
                foreach (var (name, node) in folder.Survivors(_same ?? Any(random), random)) made.Live[name] = made.Durable[name] = Of(node);
                return made;
            }
            foreach (var (name, node) in folder.Live) made.Live[name] = Of(node);
            foreach (var (name, node) in folder.Durable) made.Durable[name] = Of(node);
            foreach (var change in folder.Pending) made.Pending.Add(change with { Node = change.Node is null ? null : Of(change.Node) });
            return made;
        }

        private SimNode Of(SimNode node)
        {
            if (_made.TryGetValue(node, out var made)) return made;
            if (node is SimFolder folder) return Of(folder);
            var file = (SimInode)node;
            return _made[node] = random is null ? file.Copy() : file.Survivor(_same ?? Any(random), random);
        }

        private static Fate Any(Random random) => (Fate)random.Next(4);
    }
}
