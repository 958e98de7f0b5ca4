// The bitmap file is held to its format by its own tests, and driven through crashes by the simulation.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.DataPlane.Tests")]
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Simulation")]
