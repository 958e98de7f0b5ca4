using System.Net.Sockets;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>
/// Connections that have not yet shown who they are. Past the limit the one that has taken longest is closed: a flood of them keeps
/// nobody out whose handshake is quicker than the flood's turn.
/// </summary>
internal sealed class Handshakes(int max)
{
    private readonly LinkedList<Socket> _oldestFirst = new();

    internal LinkedListNode<Socket> Begin(Socket socket)
    {
        Socket? tooLong = null;
        LinkedListNode<Socket> begun;
        lock (_oldestFirst)
        {
            if (_oldestFirst.Count >= max)
            {
                tooLong = _oldestFirst.First!.Value;
                _oldestFirst.RemoveFirst();
            }
            begun = _oldestFirst.AddLast(socket);
        }
        tooLong?.Dispose();
        return begun;
    }

    /// <summary>Of one that is over already, nothing.</summary>
    internal void End(LinkedListNode<Socket> begun)
    {
        lock (_oldestFirst)
            if (begun.List is not null) _oldestFirst.Remove(begun);
    }
}
