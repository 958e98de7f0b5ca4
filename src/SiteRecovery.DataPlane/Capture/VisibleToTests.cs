// The bitmap file is held to its format by its own tests.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.DataPlane.Tests")]
