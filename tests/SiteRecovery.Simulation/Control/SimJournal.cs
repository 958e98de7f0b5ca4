using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Persistence;
using Akka.Persistence.Journal;

namespace SiteRecovery.Simulation.Control;

/// <summary>The configuration server's database: what is read is what became of the rows. It survives everything, and takes nothing at times.</summary>
public sealed class SimJournal : MemoryJournal
{
    private static readonly ConditionalWeakTable<ActorSystem, Mood> Moods = [];

    internal static Mood MoodOf(ActorSystem system) => Moods.GetOrCreateValue(system);

    protected override async Task<IImmutableList<Exception>> WriteMessagesAsync(IEnumerable<AtomicWrite> messages, CancellationToken cancellationToken)
    {
        var mood = MoodOf(Context.System);
        if (mood.IsFull) throw mood.Fail("the database is full");
        var written = await base.WriteMessagesAsync(messages.Select(m => new AtomicWrite(((IImmutableList<IPersistentRepresentation>)m.Payload).Select(p => p.WithPayload(mood.AsRead(p.Payload))).ToImmutableList())), cancellationToken);
        return mood.IsSilent ? throw mood.Fail("the database does not answer") : written;
    }

    internal sealed class Mood
    {
        private int _full, _silent;

        /// <summary>What becomes of an event as a row.</summary>
        internal Func<object, object> AsRead { get; set; } = written => written;

        /// <summary>How often something was not written, or was not said to be.</summary>
        internal int Felt { get; private set; }

        /// <summary>Nothing is written.</summary>
        internal bool IsFull => _full > 0;
        /// <summary>It is written, and whoever wrote it hears of an error.</summary>
        internal bool IsSilent => _silent > 0;

        internal void Fill(bool begins) => _full = Math.Max(0, _full + (begins ? 1 : -1));

        internal void Silence(bool begins) => _silent = Math.Max(0, _silent + (begins ? 1 : -1));

        internal IOException Fail(string why)
        {
            Felt++;
            return new IOException(why);
        }

        internal void Mend() => (_full, _silent) = (0, 0);
    }
}
