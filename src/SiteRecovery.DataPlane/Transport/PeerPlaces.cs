using System.Net.Sockets;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>Connections of each agent and node: past the limit its own oldest one is closed, so that no peer takes the places of others.</summary>
internal sealed class PeerPlaces(int maxOfEach)
{
    private readonly Dictionary<Peer, Held> _byPeer = [];

    private sealed class Held(int max)
    {
        internal Places Places { get; } = new(max);
        /// <summary>Taken and not yet given back, those included that were closed to make room.</summary>
        internal int Count { get; set; }
    }

    /// <returns>Gives the place back.</returns>
    internal IDisposable Take(Peer peer, Socket socket)
    {
        Held? held;
        lock (_byPeer)
        {
            if (!_byPeer.TryGetValue(peer, out held)) _byPeer.Add(peer, held = new Held(maxOfEach));
            held.Count++;
        }
        return new Place(this, peer, held, held.Places.Take(socket));
    }

    private sealed class Place(PeerPlaces all, Peer peer, Held held, LinkedListNode<Socket> taken) : IDisposable
    {
        public void Dispose()
        {
            held.Places.Free(taken);
            lock (all._byPeer)
                if (--held.Count == 0) all._byPeer.Remove(peer);
        }
    }
}
