using SiteRecovery.DataPlane.Transport;

namespace SiteRecovery.EndToEnd.InProcess;

/// <summary>A machine that its agent cannot open: whoever waits for its fence hears of it, and it is served as soon as it can be.</summary>
public sealed class UnservedMachineTests : IAsyncDisposable
{
    private readonly ToldAgent _agent = new();

    [Fact]
    public async Task The_fence_of_a_machine_whose_disk_is_gone_is_confirmed_with_what_is_wrong()
    {
        await _agent.RunAsync(() => ToldAsync(_agent.Protection(1)));
        File.Delete(_agent.At("disk.raw"));
        await _agent.RunAsync(async () =>
        {
            await ToldAsync(new FenceMachine("fence", "db1", 2, StopMachine: false));
            await _agent.UntilAsync(() => _agent.Status is { Fenced: true, Epoch: 2, Error: { } error } && error.Contains("does not exist", StringComparison.Ordinal));
        });
        Assert.Empty(_agent.Errors);
    }

    [Fact]
    public async Task A_machine_that_was_fenced_unserved_is_served_read_only_when_its_disk_is_back()
    {
        await _agent.RunAsync(() => ToldAsync(_agent.Protection(1)));
        File.Move(_agent.At("disk.raw"), _agent.At("away.raw"));
        await _agent.RunAsync(async () =>
        {
            await ToldAsync(new FenceMachine("fence", "db1", 2, StopMachine: false));
            File.Move(_agent.At("away.raw"), _agent.At("disk.raw"));
            await _agent.UntilAsync(() => _agent.Status is { Fenced: true, Epoch: 2, Disks.Count: 1 });
            await _agent.AssertServedAsync();
        });
    }

    [Fact]
    public async Task A_machine_that_could_not_be_opened_anew_is_served_by_itself_as_soon_as_it_can_be()
    {
        await _agent.RunAsync(async () =>
        {
            await ToldAsync(_agent.Protection(1));
            File.Move(_agent.At("disk.raw"), _agent.At("away.raw"));
            await _agent.TellAsync(_agent.Protection(2));
            await _agent.UntilAsync(() => !_agent.Errors.IsEmpty);
            File.Move(_agent.At("away.raw"), _agent.At("disk.raw"));
            await _agent.UntilAsync(() => _agent.Status is { Disks.Count: 1 });
            await _agent.AssertServedAsync();
        });
    }

    [Fact]
    public async Task The_fence_of_a_machine_that_the_agent_keeps_nothing_of_is_not_taken_for_done()
    {
        await _agent.RunAsync(async () =>
        {
            await _agent.TellAsync(new FenceMachine("fence", "db2", 2, StopMachine: false));
            await _agent.UntilAsync(() => !_agent.Errors.IsEmpty);
        });
        Assert.Contains("keeps nothing of machine db2, so it cannot say that it stopped", Assert.Single(_agent.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_fence_of_a_machine_whose_disks_nobody_knows_any_more_is_not_taken_for_done()
    {
        await _agent.RunAsync(() => ToldAsync(_agent.Protection(1)));
        File.Delete(Assert.Single(Directory.GetFiles(_agent.At("data"), "assignment.json", SearchOption.AllDirectories)));
        await _agent.RunAsync(async () =>
        {
            await _agent.TellAsync(new FenceMachine("fence", "db1", 2, StopMachine: false));
            await _agent.UntilAsync(() => !_agent.Errors.IsEmpty);
        });
        Assert.Contains("does not know any more which disks machine db1 has", Assert.Single(_agent.Errors), StringComparison.Ordinal);
    }

    private async Task ToldAsync(AgentMessage order)
    {
        var before = _agent.Done;
        await _agent.TellAsync(order);
        await _agent.UntilAsync(() => _agent.Done > before);
    }

    public ValueTask DisposeAsync() => _agent.DisposeAsync();
}
