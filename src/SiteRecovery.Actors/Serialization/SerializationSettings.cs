using SiteRecovery.Actors.Configuration;
using SiteRecovery.Domain.ProtectedMachines;

namespace SiteRecovery.Actors.Serialization;

public static class SerializationSettings
{
    /// <summary>Binds events and messages to their serializers; what is neither is refused.</summary>
    public static string Hocon { get; } = $$"""
        akka.actor {
          serializers {
            json = "{{Name(typeof(RefusedSerializer))}}"
            sr-event = "{{Name(typeof(EventSerializer))}}"
            sr-message = "{{Name(typeof(MessageSerializer))}}"
          }
          serialization-bindings {
            "{{Name(typeof(MachineEvent))}}" = sr-event
            "{{Name(typeof(ConfigurationEvent))}}" = sr-event
            {{string.Join("\n    ", MessageTypes.Roots.Select(t => $"\"{Name(t)}\" = sr-message"))}}
          }
        }
        """;

    private static string Name(Type type) => $"{type.FullName}, {type.Assembly.GetName().Name}";
}
