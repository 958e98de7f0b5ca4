[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Simulation")]
