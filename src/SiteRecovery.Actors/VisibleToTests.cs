// The simulation puts the rooms together without sockets.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Simulation")]
