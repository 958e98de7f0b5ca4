using System.Net.Sockets;

namespace SiteRecovery.DataPlane.Transport;

/// <summary>
/// For so many connections at once. Past the limit the one that has been here longest is closed: a flood of those that have not yet shown who they are
/// keeps nobody out whose handshake is quicker than the flood's turn.
/// </summary>
internal sealed class Places(int max)
{
    private readonly LinkedList<Socket> _oldestFirst = new();

    internal LinkedListNode<Socket> Take(Socket socket)
    {
        Socket? tooLong = null;
        LinkedListNode<Socket> taken;
        lock (_oldestFirst)
        {
            if (_oldestFirst.Count >= max)
            {
                tooLong = _oldestFirst.First!.Value;
                _oldestFirst.RemoveFirst();
            }
            taken = _oldestFirst.AddLast(socket);
        }
        tooLong?.Dispose();
        return taken;
    }

    /// <summary>Of one that is over already, nothing.</summary>
    internal void Free(LinkedListNode<Socket> taken)
    {
        lock (_oldestFirst)
            if (taken.List is not null) _oldestFirst.Remove(taken);
    }
}
