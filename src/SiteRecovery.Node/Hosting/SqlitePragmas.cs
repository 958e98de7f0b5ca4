using System.Data.Common;
using LinqToDB.Interceptors;
using Microsoft.Data.Sqlite;

namespace SiteRecovery.Node.Hosting;

/// <summary>Every commit of the journal survives power loss: WAL stays in the file, synchronous is a matter of each connection.</summary>
public sealed class SqlitePragmas : ConnectionInterceptor
{
    public static void UseWriteAheadLog(string connectionString)
    {
        using var connection = new SqliteConnection(connectionString);
        connection.Open();
        Run(connection, "PRAGMA journal_mode=WAL");
    }

    public override void ConnectionOpened(ConnectionEventData eventData, DbConnection connection) => Run(connection, "PRAGMA synchronous=FULL");

    public override Task ConnectionOpenedAsync(ConnectionEventData eventData, DbConnection connection, CancellationToken cancellationToken)
    {
        Run(connection, "PRAGMA synchronous=FULL");
        return Task.CompletedTask;
    }

    private static void Run(DbConnection connection, string pragma)
    {
        using var command = connection.CreateCommand();
        command.CommandText = pragma;
        command.ExecuteNonQuery();
    }
}
