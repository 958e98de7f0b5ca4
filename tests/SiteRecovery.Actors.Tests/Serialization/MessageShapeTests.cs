using System.Reflection;
using System.Runtime.CompilerServices;
using SiteRecovery.Actors.Serialization;

namespace SiteRecovery.Actors.Tests.Serialization;

/// <summary>
/// Hyperion reads what a message holds by its place, in the order of the fields' names: one more or less shifts all behind it, and nodes of two versions do not read each other. What is new to be said between nodes
/// is said by a message of its own; SITERECOVERY_APPROVE=1 takes new ones into the list, and a change of one that is in it is a break that upgrades have to be told of.
/// </summary>
public sealed class MessageShapeTests
{
    [Fact]
    public void What_is_said_between_nodes_keeps_its_shape()
    {
        var shapes = MessageTypes.Allowed.Where(t => t is { IsGenericType: false, IsInterface: false, IsEnum: false } && t.Namespace?.StartsWith("SiteRecovery", StringComparison.Ordinal) == true)
            .Select(t => $"{t.FullName}: {string.Join(", ", FieldsOf(t))}").Order(StringComparer.Ordinal).ToArray();
        if (Environment.GetEnvironmentVariable("SITERECOVERY_APPROVE") == "1") File.WriteAllLines(Committed(), shapes);
        Assert.Equal(File.ReadAllLines(Committed()), shapes);
    }

    private static IEnumerable<string> FieldsOf(Type type)
    {
        for (var at = type; at is not null && at != typeof(object) && at != typeof(ValueType); at = at.BaseType)
            foreach (var field in at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly).OrderBy(f => f.Name, StringComparer.Ordinal))
                yield return $"{field.Name} {field.FieldType}";
    }

    private static string Committed([CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "message-shapes.txt");
}
