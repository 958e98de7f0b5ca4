using System.Collections;
using System.Collections.Immutable;
using System.Reflection;
using SiteRecovery.Domain.History;
using SiteRecovery.Domain.Policies;
using SiteRecovery.Domain.ProtectedMachines;
using SiteRecovery.Domain.Results;
using SiteRecovery.Domain.Vaults;

namespace SiteRecovery.Actors.Tests;

internal static class Examples
{
    public static readonly MachineId Vm = new("vm1");

    public static EnableProtection Enable { get; } = new(
        Vm, new CommandId("enable-1"), new AgentName("a1"), new SiteName("primary"), new SiteName("secondary"),
        [new DiskSpec(0, "root", "/disks/root.img", 1 << 20, "nbd")], "default", ReplicationPolicy.Default);

    /// <summary>An instance of any record, its constructor's arguments made the same way.</summary>
    public static object Of(Type type)
    {
        if (type == typeof(string)) return "text";
        if (type == typeof(bool)) return true;
        if (type == typeof(int)) return 7;
        if (type == typeof(long)) return 70L;
        if (type == typeof(double)) return 7.5;
        if (type == typeof(DateTimeOffset)) return new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
        if (type == typeof(TimeSpan)) return TimeSpan.FromSeconds(9);
        if (type.IsEnum) return Enum.GetValues(type).GetValue(1)!;
        if (type == typeof(ProtectedMachine)) return Machine();
        if (type == typeof(Phase)) return new Phase.Paused(ResumeTo.Protected);
        if (type == typeof(Work)) return new RemoveStore(Vm, Epoch.First, new SiteName("s"));
        if (type == typeof(PointSelector)) return new PointSelector.ById("e1-s2");
        if (Nullable.GetUnderlyingType(type) is { } inner) return Of(inner);
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ImmutableArray<>))
        {
            var items = Array.CreateInstance(type.GenericTypeArguments[0], 1);
            items.SetValue(Of(type.GenericTypeArguments[0]), 0);
            return typeof(ImmutableArray).GetMethods().Single(m => m.Name == "Create" && m.GetParameters() is [{ ParameterType.IsArray: true }] && m.GetGenericArguments().Length == 1)
                .MakeGenericMethod(type.GenericTypeArguments[0]).Invoke(null, [items])!;
        }
        var constructor = type.GetConstructors().OrderByDescending(c => c.GetParameters().Length).First();
        return constructor.Invoke([.. constructor.GetParameters().Select(p => Of(p.ParameterType))]);
    }

    /// <summary>All values inside, so that collections compare by what they hold.</summary>
    public static string Print(object? value) => value switch
    {
        null => "null",
        string or ValueType and (int or long or double or bool or DateTimeOffset or TimeSpan or Enum) => $"{value}",
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>().Select(Print))}]",
        _ => $"{value.GetType().Name}({string.Join(", ", value.GetType().GetProperties(BindingFlags.Instance | BindingFlags.Public)
            .Where(p => p.GetIndexParameters().Length == 0).Select(p => $"{p.Name}={Print(p.GetValue(value))}"))})",
    };

    private static ProtectedMachine Machine()
    {
        var machine = ProtectedMachine.New(Vm);
        return ProtectedMachine.Decide(machine, Enable, DateTimeOffset.UnixEpoch).Events.Aggregate(machine, (m, e) => m.Apply(e));
    }
}
