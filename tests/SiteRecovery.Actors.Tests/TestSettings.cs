using Akka.Configuration;
using SiteRecovery.Actors.Serialization;

namespace SiteRecovery.Actors.Tests;

internal static class TestSettings
{
    public static Config Config { get; } = ConfigurationFactory.ParseString("""
        akka.loglevel = WARNING
        akka.persistence.journal.plugin = "akka.persistence.journal.test"
        akka.persistence.journal.test.class = "Akka.Persistence.TestKit.TestJournal, Akka.Persistence.TestKit"
        akka.persistence.snapshot-store.plugin = "akka.persistence.snapshot-store.inmem"
        """ + "\n" + SerializationSettings.Hocon);
}
