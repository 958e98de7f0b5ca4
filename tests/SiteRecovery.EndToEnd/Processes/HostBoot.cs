using System.Text.Json.Nodes;

namespace SiteRecovery.EndToEnd.Processes;

/// <summary>A boot of an agent's host, as far as the agent can tell.</summary>
internal static class HostBoot
{
    /// <summary>What a capture's state says of the host's last boot is of another one.</summary>
    internal static void Pretend(string stateFolder)
    {
        var path = Path.Combine(stateFolder, "capture.json");
        var state = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        Assert.NotNull((string?)state["BootId"]);
        state["BootId"] = Guid.NewGuid().ToString();
        // It is of what was there before; a file without one is believed.
        Assert.True(state.Remove("checksum"));
        File.WriteAllText(path, state.ToJsonString());
    }
}
