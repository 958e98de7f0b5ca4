using System.IO.Pipelines;
using SiteRecovery.DataPlane.Transport;
using SiteRecovery.Simulation.World;

namespace SiteRecovery.Simulation.Agents;

/// <summary>Whoever reads nothing any more keeps nobody who speaks to him.</summary>
public sealed class StuckPeerTests
{
    [Fact]
    public async Task What_is_not_taken_in_time_ends_the_channel()
    {
        var (clock, line) = (new SimClock(), new Pipe(new PipeOptions(pauseWriterThreshold: 16, resumeWriterThreshold: 8)));
        await using var channel = new ControlChannel(line.Writer.AsStream(), time: clock);
        var sending = channel.SendAsync(new byte[100], CancellationToken.None).AsTask();
        var waiting = channel.SendAsync(new byte[1], CancellationToken.None).AsTask();
        Assert.False(sending.IsCompleted);
        while (clock.Next(ControlChannel.SendMax))
        {
            // Whatever is due.
        }
        foreach (var unsent in (Task[])[sending, waiting])
            Assert.Contains("nothing was taken", (await Assert.ThrowsAsync<IOException>(() => unsent.WaitAsync(TimeSpan.FromSeconds(30)))).Message, StringComparison.Ordinal);
    }
}
