// The simulation puts the rooms together without sockets.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Simulation")]
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Actors.Tests")]
