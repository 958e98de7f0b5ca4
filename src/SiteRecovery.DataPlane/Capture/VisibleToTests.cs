// The bitmap file is held to its format by its own tests, and driven through crashes by the simulation; what reads bytes is fuzzed.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.DataPlane.Tests")]
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Simulation")]
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Fuzzing")]
