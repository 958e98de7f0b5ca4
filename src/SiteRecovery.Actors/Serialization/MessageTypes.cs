using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Reflection;
using Hyperion;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;

namespace SiteRecovery.Actors.Serialization;

/// <summary>The messages that may cross nodes, and every type that may occur inside one of them.</summary>
public static class MessageTypes
{
    /// <summary>What the message serializer is bound to.</summary>
    public static ImmutableArray<Type> Roots { get; } =
        [typeof(IClusterMessage), typeof(IForMachine), typeof(MachineReply), typeof(Work), typeof(MachineState), typeof(MachineJobs)];

    private static readonly ImmutableArray<Type> Ours = [.. typeof(Work).Assembly.GetTypes(), .. typeof(MessageTypes).Assembly.GetTypes()];

    /// <summary>Every concrete message, by its manifest.</summary>
    public static FrozenDictionary<string, Type> Messages { get; } = Ours
        .Where(t => t is { IsAbstract: false, IsInterface: false } && Roots.Any(r => r.IsAssignableFrom(t)))
        .ToFrozenDictionary(t => t.FullName!, StringComparer.Ordinal);

    /// <summary>The messages, and all types reached from their fields.</summary>
    public static FrozenSet<Type> Allowed { get; } = Close(Messages.Values);

    private static FrozenSet<Type> Close(IEnumerable<Type> roots)
    {
        var seen = new HashSet<Type>();
        var open = new Stack<Type>(roots);
        while (open.TryPop(out var type))
        {
            if (!seen.Add(type)) continue;
            if (type.IsArray) open.Push(type.GetElementType()!);
            foreach (var argument in type.GetGenericArguments())
            {
                open.Push(argument);
                open.Push(argument.MakeArrayType());
            }
            if (!Ours.Contains(type)) continue;      // the framework's types are taken whole: their insides are Hyperion's affair
            foreach (var derived in Ours.Where(t => t != type && !t.IsAbstract && type.IsAssignableFrom(t))) open.Push(derived);
            for (var at = type; at is not null && Ours.Contains(at); at = at.BaseType)
            {
                foreach (var field in at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                {
                    open.Push(field.FieldType);
                    if (Nullable.GetUnderlyingType(field.FieldType) is { } inner) open.Push(inner);
                }
            }
        }
        return seen.ToFrozenSet();
    }
}

/// <summary>Lets only <see cref="MessageTypes.Allowed"/> through, whichever way Hyperion spells a type's name.</summary>
internal sealed class AllowListFilter : ITypeFilter
{
    // Before Names, which needs it.
    private static readonly string[] Noise = ["Version=", "Culture=", "PublicKeyToken=", "System.Private.CoreLib", "%core%", "mscorlib"];

    private static readonly FrozenSet<string> Names = MessageTypes.Allowed.Select(t => Plain(t.AssemblyQualifiedName!)).ToFrozenSet(StringComparer.Ordinal);

    public bool IsAllowed(string typeName) => Names.Contains(Plain(typeName));

    /// <summary>Without versions, and without the core library's name, which Hyperion shortens to "%core%".</summary>
    private static string Plain(string name)
    {
        var parts = name.Split(',').Select(p => p.Trim()).Select(p => Array.Exists(Noise, n => p.StartsWith(n, StringComparison.Ordinal)) ? Tail(p) : "," + p);
        return string.Concat(parts).Replace(",]", "]", StringComparison.Ordinal);
    }

    // The brackets that close a generic argument hang on the noise before them.
    private static string Tail(string part) => part.IndexOf(']', StringComparison.Ordinal) is var at and >= 0 ? part[at..] : "";
}
